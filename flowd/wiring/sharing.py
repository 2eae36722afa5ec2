"""What a daemon does beside the engine because other hosts share its store."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field

from flowd.domain.flow import Snapshot
from flowd.domain.hosts import HostSession
from flowd.engine.abilities import Abilities
from flowd.engine.attempts import Attempts
from flowd.engine.checkout import Checkout
from flowd.engine.completions import Completions
from flowd.engine.hearing import Hearing
from flowd.engine.scheduler import Holder, Scheduler
from flowd.engine.served import Served
from flowd.engine.steps_in_force import StepsInForce
from flowd.engine.tenure import Tenure
from flowd.keeper.capabilities import now_s
from flowd.ports import Catalog, Clock, Journal, Keeper, PackageHashes
from flowd.ports.hosts import Sharing

Work = Callable[[], Coroutine[None, None, None]]


@dataclass(slots=True)
class Shared:
    """A store that is shared.

    Attributes:
        on_replaced: Told when another daemon has this host's name, or nobody.
        is_held: Somebody wanted nothing to start here when it was opened.
        listeners: Told of each snapshot of the catalog.
        served: What all hosts can run.
    """

    store: Sharing
    host: HostSession
    on_replaced: Callable[[], None]
    is_held: bool = False
    listeners: list[Callable[[Snapshot], None]] = field(default_factory=list)
    served: Served = field(default_factory=Served)

    def works(
        self,
        *,
        keeper: Keeper,
        attempts: Attempts,
        completions: Completions,
        scheduler: Scheduler,
        clock: Clock,
        catalog: Catalog,
        steps: StepsInForce,
        journal: Journal,
        packages: PackageHashes,
        commit: Callable[[], str | None],
        on_lost: Callable[[], None],
        on_renewed: Callable[[float], None],
    ) -> list[Work]:
        """What goes on for as long as the engine is open. ``commit`` is that of the workspace."""
        tenure = Tenure(
            leases=self.store,
            keeper=keeper,
            attempts=attempts,
            completions=completions,
            scheduler=scheduler,
            clock=clock,
            boot_s=now_s,
            on_replaced=self.on_replaced,
            on_lost=on_lost,
            on_renewed=on_renewed,
        )
        hearing = Hearing(
            journal=journal,
            leases=self.store,
            attempts=attempts,
            completions=completions,
            ring=scheduler.ring,
            ring_in=lambda left_ms: scheduler.ring_at(clock.steady_ms() + left_ms),
            hold=lambda is_wanted: scheduler.hold(Holder.STORE, is_wanted),
        )
        abilities = Abilities(hosts=self.store, catalog=catalog, steps=steps, served=self.served, ring=scheduler.ring)
        checkout = Checkout(hosts=self.store, catalog=catalog, packages=packages, commit=commit)
        self.listeners += [abilities.changed, checkout.changed]
        return [tenure.renew_for_ever, tenure.sweep_for_ever, hearing.work, abilities.work, checkout.work]
