"""Keeps the attempts under way: makes them, finds them, and ends them."""

from collections.abc import Callable
from contextlib import suppress

from flowd.domain.definition import Definition
from flowd.domain.errors import RefusedError
from flowd.domain.exit import Exit
from flowd.domain.ids import parse_attempt_id
from flowd.domain.queueing import LeftRunning, StartedRun
from flowd.domain.run import Attempt, ProcessStatus, Run
from flowd.engine.attempt import ActiveAttempt
from flowd.engine.attempt_tools import Tools
from flowd.engine.running_step import RunningStep


class Attempts:
    """The attempts under way, by their runs."""

    def __init__(
        self, tools: Tools, *, learn: Callable[[Definition], None] = lambda _: None, is_shared: bool = False
    ) -> None:
        """None is under way yet.

        Args:
            learn: Told each definition before a step of it is started, and before one is adopted.
            is_shared: Other hosts have attempts of the same store under way: of one that is not here, its host hears.
        """
        self._tools = tools
        self._is_shared = is_shared
        self._learn = learn
        self._active: dict[str, ActiveAttempt] = {}
        self._wishes: set[str] = set()
        """Runs to cancel whose start is written down, of which nobody here has been told yet."""

    @property
    def active(self) -> tuple[str, ...]:
        """Ids of the runs under way."""
        return tuple(self._active)

    def numbers(self) -> dict[str, int]:
        """The numbers of the attempts under way, by run."""
        return {run_id: one.attempt.number for run_id, one in self._active.items()}

    def grace_ms(self, run_id: str, number: int) -> int | None:
        """The grace of an attempt under way; None where it is not."""
        active = self._find(run_id, number)
        return None if active is None else active.definition.grace_ms

    @property
    def waiting_for_storage(self) -> int:
        """How many runs have a start or an end that cannot be written down just now."""
        return self._tools.waits.count

    def are_all_waiting(self, *, is_claiming: bool) -> bool:
        """Whether every run under way, and the claim of the next, waits for storage."""
        waits = self._tools.waits
        return all(map(waits.has, self._active)) and (not is_claiming or waits.has("claim"))

    def under_way(self) -> list[RunningStep]:
        """The running steps, oldest first."""
        found = [RunningStep.of(one.attempt, one.definition, age_ms=one.age_ms) for one in self._active.values()]
        return sorted(found, key=lambda step: step.started_at_ms)

    def enrich(self, attempt: Attempt) -> Attempt:
        """An attempt with what is known of it before it is written down."""
        active = self._find(attempt.run_id, attempt.number)
        return attempt if active is None else active.attempt

    def is_active(self, run_id: str, number: int) -> bool:
        """Whether this attempt is under way, its end not told to anybody yet."""
        return self._find(run_id, number) is not None

    def begin(self, started: StartedRun) -> ActiveAttempt:
        """The attempt of a run that was just claimed."""
        self._tools.tallies.began(started)
        return self._add(started.attempt, started.run, started.definition, started=started)

    def adopt(self, left: LeftRunning) -> ActiveAttempt:
        """An attempt that an earlier daemon started, and that the keeper knows."""
        active = self._add(left.attempt, left.run, left.definition)
        active.is_canceled = active.is_canceled or left.run.cancel_requested
        return active

    def end_unseen(self, left: LeftRunning) -> ActiveAttempt:
        """An attempt whose end nobody can have seen: it ends by its result if it left one, else as ``interrupted``."""
        active = self._add(left.attempt, left.run, left.definition)
        active.end_unseen(Exit(cause="canceled") if left.run.cancel_requested else Exit())
        return active

    def start_over(self, left: LeftRunning) -> ActiveAttempt:
        """An attempt whose process was provably never started: its run is queued again."""
        active = self._add(left.attempt, left.run, left.definition)
        active.withdraw("its process was never started")
        return active

    async def let_go(self, attempt_id: str) -> None:
        """Do what an earlier daemon could not do any more after it had recorded this attempt's outcome."""
        output = await self._tools.store.output(*parse_attempt_id(attempt_id))
        if output is not None:
            self._tools.outputs.let_go(attempt_id, output)
        await self._tools.keeper.forget(attempt_id)

    async def cancel(self, run_id: str, *, grace_s: float | None = None) -> float:
        """Ask a running run to end, at once with ``grace_s=0``; how many seconds it has for that. Idempotent.

        Its outcome comes by itself. To be called after the wish was noted in its row.
        """
        active = self._active.get(run_id)
        if active is None:
            if self._is_shared:  # its host hears of the wish
                made_with = await self._tools.store.definition(run_id)
                return 0.0 if made_with is None else made_with.grace_ms / 1000
            await self._wish(run_id)
            return 0.0
        await active.cancel(grace_s=grace_s)
        return active.definition.grace_ms / 1000 if grace_s is None else grace_s

    async def cancel_once(self, run_id: str) -> None:
        """The same for a run that may be under way here, and may be canceled already: then nothing happens."""
        active = self._active.get(run_id)
        if active is not None and not active.is_canceled:
            await active.cancel()

    async def fence(self, run_id: str, number: int) -> None:
        """End an attempt that this host does not hold any more: another one may have its run. What it comes to counts
        for nothing."""
        active = self._find(run_id, number)
        if active is not None:
            grace_s = active.definition.grace_ms / 1000
            await self._tools.keeper.stop(active.attempt.id, cause="fenced", grace_s=grace_s)

    async def _wish(self, run_id: str) -> None:
        """Cancel the attempt that is about to begin here. Where there is none, because the run has ended by itself in
        this very moment, forget the wish: its next attempt is one that a person wants."""
        self._wishes.add(run_id)
        with suppress(RefusedError):
            run = await self._tools.store.run(run_id)
            if run is None or run.status is not ProcessStatus.RUNNING:
                self._wishes.discard(run_id)

    def _find(self, run_id: str, number: int) -> ActiveAttempt | None:
        active = self._active.get(run_id)
        return active if active is not None and active.attempt.number == number else None

    def _add(
        self, attempt: Attempt, run: Run, definition: Definition, *, started: StartedRun | None = None
    ) -> ActiveAttempt:
        self._learn(definition)
        active = ActiveAttempt(self._tools, attempt, definition, on_close=self._remove, run=run, started=started)
        active.is_canceled = attempt.run_id in self._wishes
        self._wishes.discard(attempt.run_id)
        self._active[attempt.run_id] = active
        return active

    def _remove(self, active: ActiveAttempt) -> None:
        if self._active.get(active.run_id) is active:  # else its run has another one already
            del self._active[active.run_id]
