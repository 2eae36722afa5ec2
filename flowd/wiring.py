"""The composition root: settings in, parts out. The only place that chooses implementations."""

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from flowd.api import json
from flowd.catalog.package_files import PackageFiles
from flowd.catalog.schema_checks import SchemaChecks
from flowd.catalog.watched import WatchedCatalog
from flowd.domain.errors import StateError, StorageFailedError
from flowd.domain.flow import Snapshot
from flowd.domain.launching import KeeperLostError
from flowd.domain.redaction import Redactor
from flowd.engine.attempt import Tools
from flowd.engine.attempts import Attempts
from flowd.engine.catalog_journal import CatalogJournal
from flowd.engine.claims import Claims
from flowd.engine.completions import Completions
from flowd.engine.engine import Engine
from flowd.engine.feed import Feed
from flowd.engine.follows import Follows
from flowd.engine.intake import Intake
from flowd.engine.output_reader import OutputReader
from flowd.engine.outputs import OutputFiles
from flowd.engine.package_waits import PackageWaits
from flowd.engine.pauses import Pauses
from flowd.engine.questions import Questions
from flowd.engine.round_folders import RoundFolders
from flowd.engine.scheduler import Scheduler, Timers
from flowd.engine.steps_in_force import StepsInForce
from flowd.engine.storage_waits import StorageWaits
from flowd.engine.uncancellable import UncancellableCalls
from flowd.executors.direct.executor import DirectExecutor
from flowd.keeper.capabilities import boot_id
from flowd.keeper.journal import load as load_journal
from flowd.observe.own_unit import default_scope
from flowd.ports import Catalog, Clock, Keeper, OpenStore, PackageHashes, PayloadChecks, Runners
from flowd.runners.commands import StepRunners
from flowd.runners.reach import Reach
from flowd.runners.secrets import StepSecrets
from flowd.settings import values as settings_values
from flowd.settings.values import Settings
from flowd.state import folder as state_folder
from flowd.store.sqlite.foreign import take_possession
from flowd.store.sqlite.room import RESERVE_BYTES
from flowd.store.sqlite.store import SqliteStore

_OTHER_EXECUTOR = (
    'The executor "{other}" still has steps in this workspace. Start flowd once with executor = "{other}" and let them '
    "end, or end them: `flowd service end-steps`, then start it once so."
)


class SystemClock:
    """The machine's clocks."""

    def __init__(self) -> None:
        self._epoch_ns = time.time_ns() - time.monotonic_ns()

    def now_ms(self) -> int:
        """See `flowd.ports.Clock.now_ms`."""
        return time.time_ns() // 1_000_000

    def steady_ms(self) -> int:
        """See `flowd.ports.Clock.steady_ms`."""
        return (self._epoch_ns + time.monotonic_ns()) // 1_000_000


class StepKeeper(Keeper, Protocol):
    """A keeper with a life of its own."""

    @property
    def restarts(self) -> int:
        """How often another process of it has taken the place of one that died."""
        ...

    @property
    def outdated(self) -> dict[str, Any] | None:
        """About a process of another version of flowd that still runs steps; None where it is ours."""
        ...

    async def open(self) -> None:
        """Take up what an earlier daemon left."""
        ...

    def restore(self) -> None:
        """Make again what somebody has removed of its files, so that the next daemon finds what runs. Cheap."""
        ...

    async def close(self, *, end_steps: bool) -> None:
        """Let go of steps, or end them."""
        ...


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that has a life of its own, and the engine on top."""

    store: OpenStore
    keeper: StepKeeper
    catalog: WatchedCatalog
    checks: SchemaChecks
    engine: Engine
    feed: Feed
    catalog_journal: CatalogJournal

    def restore(self) -> None:
        """Make again what somebody has removed from under running steps, and under those to come."""
        self.engine.make_folders()
        self.keeper.restore()

    async def close(self, *, end_steps: bool) -> None:
        """Close in the order in which nothing is missed: no new packages, no more exits, then the memory of both."""
        await self.catalog.close()
        await self.checks.close()
        await self.catalog_journal.settle()
        await self.keeper.close(end_steps=end_steps)
        await self.store.close()


def refuse_other_executor(settings: Settings) -> None:
    """Raise where the executor that the settings do not choose has steps that run, or ends that nobody has recorded.

    Raises:
        StateError: It has.
    """
    folder = settings.state_dir / state_folder.KEEPER
    if settings.executor == "systemd":
        if load_journal(str(folder / "keeper.journal"))[0]:
            raise StateError(_OTHER_EXECUTOR.format(other="direct"))
    elif any((folder / "units").glob("*.note")):
        raise StateError(_OTHER_EXECUTOR.format(other="systemd"))


def build_keeper(
    settings: Settings,
    *,
    base_env: Mapping[str, str],
    environ: Mapping[str, str],
    on_lost: Callable[[KeeperLostError], None] | None = None,
    step_open_files: int | None = None,
) -> StepKeeper:
    """The executor that the settings choose; see `build` for the arguments.

    Raises:
        StateError: The other one has steps that run, or ends that nobody has recorded: this one would not know them,
            and they would be started a second time.
    """
    folder = settings.state_dir / state_folder.KEEPER
    refuse_other_executor(settings)
    if settings.executor == "systemd":
        from flowd.executors.systemd.executor import SystemdExecutor  # noqa: PLC0415 - takes 40 ms

        return SystemdExecutor(
            folder, base_env=base_env, scope=default_scope(), boot_id=boot_id(), environ=environ, on_lost=on_lost
        )
    return DirectExecutor(
        folder,
        base_env=base_env,
        orphan_grace_s=settings.orphan_grace_s,
        on_lost=on_lost,
        cgroup=settings.cgroup,
        step_open_files=step_open_files,
    )


async def build(
    settings: Settings,
    *,
    environ: Mapping[str, str],
    on_storage_failure: Callable[[StorageFailedError], None],
    on_keeper_lost: Callable[[KeeperLostError], None] | None = None,
    socket_path: Path | None,
    is_watching: bool = True,
    launched_by: str = "flowd",
    redactor: Redactor | None = None,
    step_environ: Mapping[str, str] | None = None,
    step_open_files: int | None = None,
) -> Parts:
    """Open everything for one state folder, whose lock the caller holds.

    Args:
        redactor: Masks what is shown; by default one for the settings and ``environ``.
        step_environ: What steps inherit, instead of what the settings choose from ``environ``.
        step_open_files: The soft limit of open files that steps begin with; by default our own.

    Raises:
        StateError: State on disk cannot be used. Nothing stays open.
    """
    folder = settings.state_dir
    outputs = OutputFiles(folder / state_folder.OUTPUT, max_output_bytes=settings.max_output_bytes)
    clock = SystemClock()
    take_possession(folder, settings.workspace, sizes=outputs.sizes, at_ms=clock.now_ms())
    keeper = build_keeper(
        settings,
        base_env=dict(settings_values.step_environment(settings, environ) if step_environ is None else step_environ),
        environ=environ,
        on_lost=on_keeper_lost,
        step_open_files=step_open_files,
    )
    store = SqliteStore(
        folder / state_folder.DATABASE,
        max_queued=settings.max_queued,
        max_waiting=settings.max_waiting,
        max_tree_events=settings.max_tree_events,
        on_failure=on_storage_failure,
        reserve_bytes=0 if socket_path is None else RESERVE_BYTES,  # a state that lives for one call needs none
    )
    catalog_journal = CatalogJournal(store, clock)
    listeners: list[Callable[[Snapshot], None]] = [catalog_journal.note]
    catalog = WatchedCatalog(
        settings.workspace,
        rescan_interval_s=settings.rescan_interval_s,
        on_change=lambda _, snapshot: [tell(snapshot) for tell in listeners],
        watching=is_watching,
        is_vouched=settings.is_vouched,
    )
    opened = await asyncio.gather(keeper.open(), catalog.open(), return_exceptions=True)
    failure = next((error for error in opened if isinstance(error, BaseException)), None)
    if failure is not None:
        await catalog.close()
        await catalog_journal.settle()
        await keeper.close(end_steps=False)
        await store.close()
        raise failure
    runners = StepRunners(
        workspace=settings.workspace,
        socket_path=None if socket_path is None else str(socket_path),
        environ=dict(environ),  # looked into at each start, and os.environ decodes what it is asked for
        interpreters=settings.interpreters,
        launched_by=launched_by,
        secrets=StepSecrets(settings.secrets, environ),
        reach=Reach(folder / state_folder.REACH),
    )
    catalog_journal.note(catalog.snapshot)
    await catalog_journal.settle()  # before anybody subscribes: what changed without a daemon is no news any more
    if redactor is None:
        redactor = Redactor(settings.redact, environ)
    checks = SchemaChecks(budget_s=settings.max_check_ms / 1000)
    engine, feed = assemble(
        settings,
        store=store,
        keeper=keeper,
        catalog=catalog,
        checks=checks,
        packages=PackageFiles(),
        runners=runners,
        redactor=redactor,
        clock=clock,
    )
    listeners.append(engine.packages_changed)
    return Parts(store, keeper, catalog, checks, engine, feed, catalog_journal)


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
) -> tuple[Engine, Feed]:
    """The engine and its feed on top of these adapters. ``call_later`` is the running loop's unless given."""
    boot = boot_id()
    round_folders = RoundFolders(settings.state_dir / state_folder.ROUNDS, store)
    completions = Completions(round_folders.ended)
    waits = StorageWaits(time.monotonic)
    outputs = OutputFiles(settings.state_dir / state_folder.OUTPUT, max_output_bytes=settings.max_output_bytes)
    steps = StepsInForce(catalog)
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
        max_output_bytes=settings.max_output_bytes,
        mask=redactor.text,
    )
    attempts = Attempts(tools, learn=lambda definition: redactor.learn(definition.env))
    claims = Claims(store=store, keeper=keeper, steps=steps, clock=clock, boot_id=boot, waits=waits)
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
    reader = OutputReader(store, outputs, redactor=redactor, is_active=attempts.is_active)
    feed = Feed(journal=store, reader=reader, clock=clock, redactor=redactor)
    store.tell_commits(feed.ring)
    calls = UncancellableCalls()
    questions = Questions(
        store=store, follows=follows, clock=clock, redactor=redactor, calls=calls, ring=scheduler.ring
    )
    pauses = Pauses(
        store=store,
        catalog=catalog,
        clock=clock,
        redactor=redactor,
        calls=calls,
        ring=scheduler.ring,
        stir=completions.stir,
    )
    engine = Engine(
        store=store,
        keeper=keeper,
        catalog=catalog,
        clock=clock,
        intake=intake,
        scheduler=scheduler,
        attempts=attempts,
        claims=claims,
        package_waits=package_waits,
        outputs=outputs,
        round_folders=round_folders,
        reader=reader,
        completions=completions,
        boot_id=boot,
        redactor=redactor,
        questions=questions,
        pauses=pauses,
        calls=calls,
        follows=follows,
    )
    store.tell_beside(engine.follow_up)
    return engine, feed
