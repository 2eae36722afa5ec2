"""The engine: its life, and the verbs that change something; its parts have the others. No wire, no process."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence

from flowd.domain.event import Event
from flowd.domain.flow import Snapshot
from flowd.domain.matching import Verdict
from flowd.domain.queueing import SideEffects
from flowd.domain.redaction import Redactor
from flowd.engine import recovery, run_log
from flowd.engine.attempts import Attempts
from flowd.engine.cancels import Cancels
from flowd.engine.completions import Completions
from flowd.engine.follows import Follows
from flowd.engine.hosts import HostControl
from flowd.engine.intake import Intake
from flowd.engine.keeping import Keeping
from flowd.engine.notices import Notices
from flowd.engine.outputs import OutputFiles
from flowd.engine.package_waits import PackageWaits
from flowd.engine.pauses import Pauses
from flowd.engine.questions import Questions
from flowd.engine.reads import Reads
from flowd.engine.round_folders import RoundFolders
from flowd.engine.running_step import RunningStep
from flowd.engine.scheduler import TASK_PREFIX, Holder, Scheduler
from flowd.engine.schedules import Schedules
from flowd.engine.sending import Sending
from flowd.engine.tallies import Tallies
from flowd.engine.uncancellable import UncancellableCalls
from flowd.engine.waiters import Waiters
from flowd.engine.watches import Watches
from flowd.ports import Catalog, Clock, Keeper, OpenStore

log = logging.getLogger("flowd.engine")


class Engine:
    """Accepts events, runs their steps, and answers questions about both."""

    def __init__(
        self,
        *,
        store: OpenStore,
        keeper: Keeper,
        catalog: Catalog,
        clock: Clock,
        intake: Intake,
        scheduler: Scheduler,
        attempts: Attempts,
        sending: Sending,
        package_waits: PackageWaits,
        background: Sequence[Callable[[], Coroutine[None, None, None]]],
        outputs: OutputFiles,
        keeping: Keeping,
        round_folders: RoundFolders,
        reads: Reads,
        completions: Completions,
        boot_id: str,
        redactor: Redactor,
        questions: Questions,
        pauses: Pauses,
        calls: UncancellableCalls,
        follows: Follows,
        tallies: Tallies,
        hosts: HostControl,
        notices: Notices,
        schedules: Schedules,
        watches: Watches,
    ) -> None:
        self._store = store
        self._keeper = keeper
        self._catalog = catalog
        self._clock = clock
        self._intake = intake
        self._scheduler = scheduler
        self._attempts = attempts
        self._package_waits = package_waits
        self._background = background
        self._outputs = outputs
        self._round_folders = round_folders
        self._completions = completions
        self._boot_id = boot_id
        self._redactor = redactor
        self._follows = follows
        self._calls = calls
        self.sending = sending
        """What makes runs."""
        self.keeping = keeping
        """What is forgotten, and when."""
        self.hosts = hosts
        """The hosts that share the store."""
        self.notices = notices
        """Who is told of failures and questions outside of flowd."""
        self.schedules = schedules
        """What comes by itself."""
        self.watches = watches
        """The files whose changes become events."""
        self.tallies = tallies
        """What was counted since it began."""
        self.questions = questions
        """What people can do about runs that ask."""
        self.pauses = pauses
        """What people hold up."""
        self.reads = reads
        """What is stored and printed, to be looked at."""
        self.cancels = Cancels(
            store=store,
            attempts=attempts,
            completions=completions,
            clock=clock,
            calls=calls,
            read=self.reads.run,
            ring=scheduler.ring,
        )
        """Ends of runs and events that somebody asks for."""
        self.waiters = Waiters(
            store=store,
            completions=completions,
            read=self.reads.run,
            shown=self.reads.shown,
            is_active=lambda run_id: run_id in attempts.active,
            places=lambda: scheduler.max_parallel,
        )
        """Those who wait for runs, events and trees."""

    # --- life --------------------------------------------------------------------------------------------------------

    async def open(self, tasks: asyncio.TaskGroup) -> dict[str, int]:
        """Take up what an earlier daemon left, then start runs, all as tasks of this group."""
        if self._redactor.is_wanted:
            for definition in await self._store.definitions():
                self._redactor.learn(definition.env)
        await self.cancels.open()
        counts = await recovery.reconcile(
            store=self._store,
            keeper=self._keeper,
            attempts=self._attempts,
            scheduler=self._scheduler,
            clock=self._clock,
            boot_id=self._boot_id,
            tasks=tasks,
        )
        await self.pauses.open()
        for work in self._background:
            tasks.create_task(work(), name=f"{TASK_PREFIX}background")
        self._scheduler.open(tasks)
        self._round_folders.sweep()
        return counts

    def follow_up(self, side_effects: SideEffects) -> None:
        """See to what a commit did beside what was asked for: wake who waits for runs, end what is to end, start what
        may start."""
        for run in side_effects.ended:
            run_log.tell_ended_unstarted(run)
            self._completions.tell(run)
        for run_id in side_effects.to_end:
            self._calls.begin(self._attempts.cancel(run_id))
        if side_effects.is_any_ready:
            self._scheduler.ring()
        if side_effects.next_due_ms is not None:
            self._scheduler.ring_at(side_effects.next_due_ms)
        self.tallies.caused(side_effects.caused)
        if side_effects.has_notices:
            self.notices.ring()

    def make_folders(self) -> None:
        """Make the folder of steps' output again where somebody has removed it."""
        self._outputs.make_folder()

    def packages_changed(self, _: Snapshot) -> None:
        """Another snapshot of the catalog is in force: runs that wait for their package may go on, and other files may
        be watched."""
        self._package_waits.packages_changed()
        self.schedules.packages_changed()
        self.watches.packages_changed()

    def cause_nothing(self) -> None:
        """Start nothing that a step sends, by its result or in any other way: whoever runs one step means that step."""
        self._follows.are_wanted = False
        self._intake.starts_unasked = False

    def wait_for_no_instant(self) -> None:
        """Let runs start whatever their events say of when: whoever runs them means now."""
        self._intake.waits_for_instants = False

    async def forget_all(self) -> None:
        """Forget all that has ended, see `flowd.engine.keeping.Keeping.forget_all`, and the folders of its rounds: an
        event of the same id finds nothing of it."""
        await self.keeping.forget_all()
        await self._round_folders.looked_after()

    def drain(self) -> None:
        """Start nothing more until somebody wants this host to start runs again. Events are still accepted, and their
        runs stay queued on disk."""
        self._scheduler.hold(Holder.DAEMON)

    async def undrain(self) -> None:
        """Let this host start runs again, whoever wanted it to start none.

        Raises:
            RefusedError: It winds down.
        """
        await self.hosts.undrain(self.hosts.name)

    @property
    def is_draining(self) -> bool:
        """Whether somebody wants nothing to start here."""
        return self._scheduler.is_held

    def wind_down(self) -> None:
        """Start nothing more: the end has come."""
        self._scheduler.pause()

    @property
    def active(self) -> tuple[str, ...]:
        """Ids of the runs under way."""
        return self._attempts.active

    def under_way(self) -> list[RunningStep]:
        """The running steps, oldest first."""
        return self._attempts.under_way()

    @property
    def max_parallel(self) -> int:
        """How many runs may be under way at once."""
        return self._scheduler.max_parallel

    def set_max_parallel(self, places: int) -> None:
        """Change that until the next start of the daemon; see `Scheduler.set_max_parallel`."""
        self._scheduler.set_max_parallel(places)
        log.info("places changed", extra={"max_parallel": places})

    @property
    def waiting(self) -> int:
        """How many runs are queued."""
        return self._store.queued

    @property
    def is_idle(self) -> bool:
        """Whether no run is under way or about to be."""
        return not self._attempts.active and not self._scheduler.is_claiming

    @property
    def is_stuck(self) -> bool:
        """Whether all that is under way waits for room on the disk, or for a locked database: no step of it runs."""
        return not self.is_idle and self._attempts.are_all_waiting(is_claiming=self._scheduler.is_claiming)

    @property
    def waiting_for_storage(self) -> int:
        """How many runs have a start or an end that cannot be written down just now."""
        return self._attempts.waiting_for_storage

    async def end_active(self, *, grace_s: float | None) -> None:
        """Cancel every run under way; ``grace_s=0`` kills. Needs no room on the disk."""
        for run_id in self.active:
            await self.cancels.end_running(run_id, grace_s=grace_s)

    # --- asking ------------------------------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """The catalog in force."""
        return self._catalog.snapshot

    async def reload(self) -> Snapshot:
        """Look at the packages on disk now."""
        return await self._catalog.reload()

    async def explain(self, value: object) -> tuple[Event, list[Verdict]]:
        """What every step says to an event; see `Intake.explain`."""
        return await self._intake.explain(value)

    @property
    def commits(self) -> int:
        """Grows with each commit, before anybody is told of it."""
        return self._store.commits

    async def resume(self) -> int:
        """Let the runs start that wait for a person, since their state came from elsewhere. How many they are."""
        return await self._calls.do(self._resume())

    async def _resume(self) -> int:
        total = 0
        while count := await self._store.end_person_waits(at_ms=self._clock.now_ms()):
            total += count
            self._scheduler.ring()
        return total

    async def give_back(self, *, compact: bool) -> int:
        """Give the disk back what forgotten events took; see `flowd.ports.Store.give_back`."""
        return await self._calls.do(self._store.give_back(compact=compact))
