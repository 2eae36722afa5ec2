"""The engine on top of its adapters, whichever they are."""

import secrets
import time
from collections.abc import Callable, Coroutine
from functools import partial

import flowd
from flowd.api import json
from flowd.domain.redaction import Redactor
from flowd.domain.run import Run
from flowd.domain.slots import Slot
from flowd.engine.attempt_tools import Tools
from flowd.engine.attempts import Attempts
from flowd.engine.claims import Claims
from flowd.engine.completions import Completions
from flowd.engine.elsewhere import Elsewhere
from flowd.engine.engine import Engine
from flowd.engine.feed import Feed
from flowd.engine.follows import Follows
from flowd.engine.forgotten_output import ForgottenOutput
from flowd.engine.hosts import HostControl
from flowd.engine.intake import Intake
from flowd.engine.keeping import Keeping
from flowd.engine.notices import Notices
from flowd.engine.notifiers_of_hosts import NotifiersOfHosts
from flowd.engine.output_reader import OutputReader
from flowd.engine.outputs import OutputFiles
from flowd.engine.package_waits import PackageWaits
from flowd.engine.pauses import Pauses
from flowd.engine.questions import Questions
from flowd.engine.reads import Reads
from flowd.engine.round_folders import RoundFolders
from flowd.engine.scheduler import Holder, Scheduler, Timers
from flowd.engine.schedules import Schedules
from flowd.engine.sending import Sending
from flowd.engine.shelving import SharedShelving, Shelving
from flowd.engine.showing import Showing
from flowd.engine.steps_in_force import StepsInForce
from flowd.engine.storage_waits import StorageWaits
from flowd.engine.store_clock import StoreClock
from flowd.engine.tallies import Tallies
from flowd.engine.telling import Whereabouts
from flowd.engine.uncancellable import UncancellableCalls
from flowd.engine.watches import Watches
from flowd.keeper.capabilities import boot_id, now_s
from flowd.ports import Catalog, Clock, Keeper, OpenStore, PackageHashes, PayloadChecks, Runners
from flowd.ports.watches import WatchedFiles
from flowd.settings.values import Settings
from flowd.state import folder as state_folder
from flowd.state.git_commit import commit_of
from flowd.wiring.sharing import Shared


def assemble(
    settings: Settings,
    *,
    store: OpenStore,
    keeper: Keeper,
    catalog: Catalog,
    checks: PayloadChecks,
    packages: PackageHashes,
    runners: Runners,
    redactor: Redactor,
    clock: Clock,
    call_later: Timers | None = None,
    shared: Shared | None = None,
    has_schedules: bool = False,
    watched: WatchedFiles | None = None,
) -> tuple[Engine, Feed]:
    """The engine and its feed on top of these adapters.

    Args:
        call_later: The running loop's unless given.
        shared: As what we share the store with other hosts; None where it is our own.
        has_schedules: Tell the slots of schedules.
        watched: Watches for changes of files; None where nobody does.
    """
    boot = boot_id()
    round_folders = RoundFolders(settings.state_dir / state_folder.ROUNDS, store)
    tallies = Tallies(clock.now_ms())

    def ended(run: Run) -> None:
        round_folders.ended(run)
        tallies.ended(run)

    commit = partial(commit_of, settings.workspace)
    completions = Completions(ended)
    waits = StorageWaits(time.monotonic)
    outputs = OutputFiles(settings.state_dir / state_folder.OUTPUT, max_output_bytes=settings.max_output_bytes)
    steps = StepsInForce(catalog, settings.all_labels)
    showing = Showing(redactor=redactor, steps=steps, clock=clock, served=None if shared is None else shared.served)
    intake = Intake(
        store=store,
        catalog=catalog,
        steps=steps,
        checks=checks,
        clock=clock,
        encode=json.encode,
        canonical=json.canonical,
        decode=json.decode,
        instant=json.instant,
        nonce=lambda: secrets.token_hex(8),
        max_payload_bytes=settings.max_payload_bytes,
    )
    follows = Follows(intake=intake, now=lambda: json.instant(clock.now_ms()), max_tree_events=settings.max_tree_events)
    shelf = store.output_shelf
    shelving = Shelving() if shelf is None else SharedShelving(shelf, outputs, max_bytes=settings.shared_output_bytes)
    tools = Tools(
        store=store,
        keeper=keeper,
        runners=runners,
        packages=packages,
        outputs=outputs,
        round_folders=round_folders,
        completions=completions,
        clock=clock,
        waits=waits,
        follows=follows,
        tallies=tallies,
        max_output_bytes=settings.max_output_bytes,
        mask=redactor.text,
        shelving=shelving,
    )
    attempts = Attempts(tools, learn=lambda definition: redactor.learn(definition.env), is_shared=shared is not None)
    claims = Claims(
        store=store,
        keeper=keeper,
        steps=steps,
        clock=clock,
        boot_id=boot,
        waits=waits,
        host=None if shared is None else shared.host,
        boot_s=now_s,
        took=tallies.claim_s.add,
    )
    scheduler = Scheduler(
        claims.ask,
        claims.claim,
        attempts.begin,
        max_parallel=settings.max_parallel,
        steady_ms=clock.steady_ms,
        on_missing_package=lambda: package_waits.run_waits(),  # noqa: PLW0108 - it is made below
        call_later=call_later,
    )
    package_waits = PackageWaits(
        store=store,
        catalog=catalog,
        steps=steps,
        completions=completions,
        clock=clock,
        waits=waits,
        ring=scheduler.ring,
    )
    keeping = Keeping(
        store=store,
        remove_output=outputs.remove_all,
        clock=clock,
        rules=settings.retention,
        after=round_folders.sweep,
    )
    watches = Watches(
        files=watched,
        catalog=catalog,
        clock=clock,
        dispatch=lambda event: engine.sending.dispatch(event),  # noqa: PLW0108 - it is made below
        call_later=call_later,
    )
    background: list[Callable[[], Coroutine[None, None, None]]] = [
        package_waits.work,
        keeping.look_for_ever,
        watches.work,
    ]
    if shared is not None:
        scheduler.hold(Holder.STORE, shared.is_held)
        background += shared.works(
            keeper=keeper,
            attempts=attempts,
            completions=completions,
            scheduler=scheduler,
            clock=clock,
            catalog=catalog,
            steps=steps,
            journal=store,
            packages=packages,
            commit=commit,
            on_lost=tallies.lease_lost,
            on_renewed=tallies.leases_renewed,
        )
    if shelf is not None:
        background.append(ForgottenOutput(shelf, outputs).look_for_ever)
    elsewhere = None if shelf is None else Elsewhere(shelf)
    reader = OutputReader(store, outputs, redactor=redactor, is_active=attempts.is_active, elsewhere=elsewhere)
    feed = Feed(journal=store, reader=reader, clock=clock, redactor=redactor, show=showing.run)
    store.tell_commits(feed.ring if shelf is None else partial(_ring, feed, shelving))

    async def tell(event: object, *, slot: Slot) -> object:
        return await engine.sending.dispatch(event, slot=slot)

    schedules = Schedules(
        store=store,
        catalog=catalog,
        clock=StoreClock(clock, None if shared is None else store.now_ms),
        tell=tell,
        now_s=time.monotonic,
    )
    if has_schedules:
        background.append(schedules.work)
    calls = UncancellableCalls()
    questions = Questions(
        store=store,
        follows=follows,
        clock=clock,
        redactor=redactor,
        calls=calls,
        ring=scheduler.ring,
        pulse=tallies.pulse,
    )
    pauses = Pauses(
        store=store,
        catalog=catalog,
        clock=clock,
        showing=showing,
        calls=calls,
        ring=scheduler.ring,
        stir=completions.stir,
    )
    notices = Notices(
        store=store,
        clock=clock,
        redactor=redactor,
        where=Whereabouts(settings.host, str(settings.workspace)),
        nonce=lambda: secrets.token_hex(8),
        is_shared=shared is not None,
    )
    background.append(notices.work)
    if shared is not None:
        background.append(NotifiersOfHosts(shared.store, notices).work)
    reads = Reads(store=store, attempts=attempts, reader=reader, redactor=redactor, showing=showing)
    engine = Engine(
        store=store,
        keeper=keeper,
        catalog=catalog,
        clock=clock,
        intake=intake,
        scheduler=scheduler,
        attempts=attempts,
        sending=Sending(
            store=store,
            clock=clock,
            intake=intake,
            scheduler=scheduler,
            claims=claims,
            completions=completions,
            reads=reads,
            redactor=redactor,
            calls=calls,
            tallies=tallies,
        ),
        package_waits=package_waits,
        background=background,
        outputs=outputs,
        keeping=keeping,
        round_folders=round_folders,
        reads=reads,
        completions=completions,
        boot_id=boot,
        redactor=redactor,
        questions=questions,
        pauses=pauses,
        calls=calls,
        follows=follows,
        tallies=tallies,
        hosts=HostControl(
            name=settings.host,
            version=flowd.__version__,
            labels=settings.all_labels,
            shared=None if shared is None else shared.store,
            scheduler=scheduler,
            running=lambda: len(attempts.active),
            clock=clock,
            commit=commit,
        ),
        notices=notices,
        schedules=schedules,
        watches=watches,
    )
    store.tell_side_effects(engine.follow_up)
    return engine, feed


def _ring(feed: Feed, shelving: Shelving) -> None:
    feed.ring()
    shelving.ring()
