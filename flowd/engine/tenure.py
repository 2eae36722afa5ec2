"""Holds on to what runs here, in a store that hosts share, and declares lost what other hosts hold no more."""

import asyncio
import logging
import random
from collections.abc import Callable

from flowd.domain import retry
from flowd.domain.errors import RefusedError
from flowd.domain.run import Run
from flowd.domain.tenure import Held, Lost, Presence, may_run_until_s, outcome_of, renew_after_s
from flowd.domain.waiting import TimeWait
from flowd.engine import run_log
from flowd.engine.attempts import Attempts
from flowd.engine.completions import Completions
from flowd.engine.scheduler import Scheduler
from flowd.ports import Clock, Keeper
from flowd.ports.hosts import Leases

log = logging.getLogger("flowd.engine")

SWEEP_EVERY_S = 5.0


class Tenure:
    """The leases of this host's attempts, and the look at those of others."""

    def __init__(
        self,
        *,
        leases: Leases,
        keeper: Keeper,
        attempts: Attempts,
        completions: Completions,
        scheduler: Scheduler,
        clock: Clock,
        boot_s: Callable[[], float],
        on_replaced: Callable[[], None],
        on_lost: Callable[[], None] = lambda: None,
        on_renewed: Callable[[float], None] = lambda _: None,
    ) -> None:
        """Wire it.

        Args:
            boot_s: The clock that the keeper's leases go by.
            on_replaced: Told when another daemon has this host's name: nothing here may go on.
            on_lost: Told of each attempt that was declared lost here.
            on_renewed: Told from when on the leases count, after each renewal.
        """
        self._leases = leases
        self._keeper = keeper
        self._attempts = attempts
        self._completions = completions
        self._scheduler = scheduler
        self._clock = clock
        self._boot_s = boot_s
        self._on_replaced = on_replaced
        self._on_lost = on_lost
        self._on_renewed = on_renewed
        self._presence = Presence()
        self._renew_after_s = 0.0
        self._is_failing = False
        self._unknown: frozenset[str] = frozenset()
        """Attempts that the last renewal named, and of which nobody here knew."""

    async def renew_for_ever(self) -> None:
        """Renew the leases, as often as the shortest of them needs. Without end."""
        while True:
            begun_s = self._boot_s()
            try:
                await self.renew()
            except RefusedError as error:
                self._tell_failure(error)
            except Exception:
                log.exception("leases could not be renewed")
            await asyncio.sleep(max(0.2, begun_s + self._renew_after_s - self._boot_s()))

    async def sweep_for_ever(self) -> None:
        """Declare lost what others do not hold any more, as soon as this host may judge that. Without end."""
        while True:
            await asyncio.sleep(SWEEP_EVERY_S)
            try:
                await self.sweep()
            except RefusedError:
                pass  # the renewals tell it
            except Exception:
                log.exception("leases of other hosts could not be looked at")

    async def renew(self) -> None:
        """Renew all leases once, tell the keeper, and do what the store says of the attempts under way.

        Raises:
            RefusedError: The store cannot be reached. What runs goes on until its lease is over.
        """
        asked_s, before = self._boot_s(), self._attempts.numbers()
        leases = await self._leases.renew(
            running=len(before), places=self._scheduler.max_parallel, is_draining=self._scheduler.is_drained
        )
        if leases is None:
            log.critical("another daemon has the name of this host, or it was forgotten")
            self._on_replaced()
            return
        if self._is_failing:
            self._is_failing = False
            log.info("leases are renewed again")
        self._presence.renewed(asked_s)
        self._on_renewed(asked_s)
        self._renew_after_s = renew_after_s(held.lost_after_ms for held in leases)
        self._keeper.lease({held.attempt_id: self._until_s(held, asked_s) for held in leases})
        await self._follow(leases, before)

    async def sweep(self) -> int:
        """Declare lost whatever other hosts should have renewed; how many attempts. Nothing where this host was not
        heard of itself for long enough: after an outage of the store, everybody looks lost.

        Raises:
            RefusedError: The store cannot be reached.
        """
        if not self._presence.is_trusted(self._boot_s()):
            return 0
        ended = [await self._declare(lost) for lost in await self._leases.expired()]
        return sum(ended)

    # --- inside

    def _until_s(self, held: Held, asked_s: float) -> float:
        grace_ms = self._attempts.grace_ms(held.run_id, held.number)
        return may_run_until_s(asked_s, lost_after_ms=held.lost_after_ms, grace_ms=grace_ms or 0)

    async def _follow(self, leases: list[Held], before: dict[str, int]) -> None:
        """Cancel what somebody wants canceled, end what is not ours any more, and give back what nobody knows of."""
        for held in leases:
            if held.cancel_requested:
                await self._attempts.cancel_once(held.run_id)
        names = {(held.run_id, held.number) for held in leases}
        for run_id, number in before.items():
            if (run_id, number) not in names:  # else it has ended, which the keeper knows
                await self._attempts.fence(run_id, number)
        await self._give_back([held for held in leases if not self._attempts.is_active(held.run_id, held.number)])

    async def _give_back(self, unknown: list[Held]) -> None:
        """Queue again what was claimed here without anybody's hearing of it: the answer of the store was lost. Two
        renewals name it before that: the first may be older than the claim's answer."""
        seen, self._unknown = self._unknown, frozenset(held.attempt_id for held in unknown)
        for held in unknown:
            if held.attempt_id in seen and not await self._keeper.knows(held.attempt_id):
                log.warning("claimed run given back", extra={"run_id": held.run_id})
                await self._leases.return_run(held.run_id, at_ms=self._clock.now_ms())
                self._scheduler.ring()

    async def _declare(self, lost: Lost) -> bool:
        attempt, run, outcome = lost.left.attempt, lost.left.run, outcome_of(lost)
        policy, number = lost.left.definition.retry, attempt.number - run.attempts_before
        delay_ms = None
        if not run.cancel_requested:
            delay_ms = retry.delay_before_next_ms(policy, attempt_number=number, outcome=outcome, random=random.random)
        wait = None
        if delay_ms is not None and policy is not None:
            wait = TimeWait(self._clock.steady_ms() + delay_ms, delay_ms, "retry", policy.max_attempts)
        ended = await self._leases.declare_lost(attempt, outcome, at_ms=self._clock.now_ms(), wait=wait)
        if ended is None:
            return False
        self._on_lost()
        self._tell(ended, lost)
        return True

    def _tell(self, run: Run, lost: Lost) -> None:
        run_log.tell(logging.WARNING, "attempt lost", run, attempt=lost.left.attempt.number, host=lost.host)
        if run.status.is_final:
            self._completions.tell(run)
        elif isinstance(run.waiting_for, TimeWait):
            self._completions.again(run.id)
            self._scheduler.ring_at(self._clock.steady_ms() + run.waiting_for.whole_ms)
        self._scheduler.ring()  # what needs it may start now

    def _tell_failure(self, error: RefusedError) -> None:
        if not self._is_failing:
            log.warning(
                "leases cannot be renewed", extra={"problem": error.message, "running": len(self._attempts.active)}
            )
        self._is_failing = True
