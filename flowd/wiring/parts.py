"""Everything that one state folder needs, made of its settings."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from flowd.api import json
from flowd.catalog.package_files import PackageFiles
from flowd.catalog.schema_checks import SchemaChecks
from flowd.catalog.watched import WatchedCatalog
from flowd.domain.errors import StorageFailedError
from flowd.domain.flow import Snapshot
from flowd.domain.launching import KeeperLostError
from flowd.domain.redaction import Redactor
from flowd.engine.catalog_journal import CatalogJournal
from flowd.engine.engine import Engine
from flowd.engine.feed import Feed
from flowd.engine.outputs import OutputFiles
from flowd.ports import OpenStore, Runners
from flowd.runners.commands import StepRunners
from flowd.runners.reach import Reach
from flowd.runners.secrets import StepSecrets
from flowd.settings import values as settings_values
from flowd.settings.values import Settings
from flowd.state import folder as state_folder
from flowd.store.sqlite.foreign import take_possession
from flowd.watching.trees import WatchedTrees
from flowd.wiring.clock import SystemClock
from flowd.wiring.engine import assemble
from flowd.wiring.executor import StepKeeper, build_keeper
from flowd.wiring.sharing import Shared
from flowd.wiring.store import open_store


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


async def build(
    settings: Settings,
    *,
    environ: Mapping[str, str],
    on_storage_failure: Callable[[StorageFailedError], None],
    on_keeper_lost: Callable[[KeeperLostError], None] | None = None,
    socket_path: Path | None,
    rehearsal_socket: Path | None = None,
    around_runners: Callable[[Runners], Runners] | None = None,
    is_watching: bool = True,
    launched_by: str = "flowd",
    redactor: Redactor | None = None,
    step_environ: Mapping[str, str] | None = None,
    step_open_files: int | None = None,
) -> Parts:
    """Open everything for one state folder, whose lock the caller holds.

    Args:
        rehearsal_socket: Told to steps that are only tried out, see `flowd_client.discovery.REHEARSAL`.
        around_runners: Puts something of the caller's between the engine and the runners.
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
    inherited = dict(settings_values.step_environment(settings, environ) if step_environ is None else step_environ)
    keeper = build_keeper(
        settings,
        base_env=inherited,
        environ=environ,
        on_lost=on_keeper_lost,
        step_open_files=step_open_files,
    )
    is_private = socket_path is None
    store, shared = await open_store(settings, clock=clock, on_failure=on_storage_failure, is_private=is_private)
    catalog_journal = CatalogJournal(store, clock)
    listeners: list[Callable[[Snapshot], None]] = [
        lambda snapshot: store.use_key_limits(snapshot.key_limits),
        catalog_journal.note,
    ]
    catalog = WatchedCatalog(
        settings.workspace,
        rescan_interval_s=settings.rescan_interval_s,
        on_change=lambda _, snapshot: [tell(snapshot) for tell in listeners],
        watching=is_watching,
        is_vouched=settings.is_vouched,
        has_tasks=settings.workspace_tasks and socket_path is not None,
    )
    opened = await asyncio.gather(keeper.open(), catalog.open(), return_exceptions=True)
    failure = next((error for error in opened if isinstance(error, BaseException)), None)
    if failure is not None:
        await catalog.close()
        await catalog_journal.settle()
        await keeper.close(end_steps=False)
        await store.close()
        raise failure
    told_path = rehearsal_socket or socket_path
    runners: Runners = StepRunners(
        workspace=settings.workspace,
        socket_path=None if told_path is None else str(told_path),
        environ=dict(environ),  # looked into at each start, and os.environ decodes what it is asked for
        interpreters=settings.interpreters,
        launched_by=launched_by,
        is_rehearsal=rehearsal_socket is not None,
        secrets=StepSecrets(settings.secrets, environ),
        reach=Reach(folder / state_folder.REACH, inherited),
    )
    store.use_key_limits(catalog.snapshot.key_limits)
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
        runners=runners if around_runners is None else around_runners(runners),
        redactor=redactor,
        clock=clock,
        shared=shared,
        has_schedules=socket_path is not None,
        watched=_watched(settings, clock, shared) if is_watching and socket_path is not None else None,
    )
    listeners += [engine.packages_changed, *(shared.listeners if shared else ())]
    return Parts(store, keeper, catalog, checks, engine, feed, catalog_journal)


def _watched(settings: Settings, clock: SystemClock, shared: Shared | None) -> WatchedTrees:
    """Watches for changes of files. Each host for those that it has itself."""
    return WatchedTrees(
        settings.workspace,
        state_dir=settings.state_dir,
        folder=settings.state_dir / state_folder.WATCHES,
        host=None if shared is None else settings.host,
        nonce="" if shared is None else shared.host.host_id,
        instant=lambda: json.instant(clock.now_ms()),
        max_payload_bytes=settings.max_payload_bytes,
        rescan_interval_s=settings.rescan_interval_s,
    )
