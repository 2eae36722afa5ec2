"""What the queue promises, as a plain program: no store, no tasks, no races. The real one must come to the same."""

from __future__ import annotations

from dataclasses import dataclass, field

from model.world import MAX_PARALLEL, RETRY_MS, STEPS

GONE_MS = 60_000


@dataclass
class ModelRun:
    """A run. ``ready`` is its number in the order of those that are ready, ``shown`` the version that it shows."""

    event: str
    step: str
    shown: int
    status: str = "queued"
    waits: tuple[str, int, int] | str | None = None
    ready: int = 0
    attempts: int = 0
    wants_cancel: bool = False

    def state(self) -> tuple[object, ...]:
        """What can be compared."""
        waits = self.waits[:2] if isinstance(self.waits, tuple) else self.waits
        return self.step, self.status, self.attempts, self.shown, waits


@dataclass
class Model:
    """The whole of it."""

    wall_ms: int = 1_000_000
    steady_ms: int = 1_000_000
    runs: list[ModelRun] = field(default_factory=list)
    events: dict[str, tuple[str, ...]] = field(default_factory=dict)
    versions: dict[str, int | None] = field(default_factory=lambda: dict.fromkeys(STEPS, 1))
    is_broken: bool = False
    gone_since: dict[str, int] = field(default_factory=dict)
    numbers: int = 0

    # --- what is asked

    def accept(self, event: str, only: str | None) -> None:
        if only is not None and self.versions[only] is None:
            return
        if event in self.events:
            return
        steps = tuple(step for step in STEPS if self.versions[step] is not None and only in (None, step))
        self.events[event] = steps
        self._add(event, steps)
        self.settle()

    def replay(self, event: str) -> None:
        if event in self.events:
            self._add(event, tuple(step for step in STEPS if self.versions[step] is not None))
            self.settle()

    def retry(self, run: ModelRun) -> None:
        if run.status in ("failed", "canceled"):
            run.status, run.wants_cancel = "queued", False
            self._make_ready(run)
            self.settle()

    def cancel(self, run: ModelRun) -> None:
        if run.status == "queued":
            run.status, run.waits = "canceled", None
        elif run.status == "running":
            self._end(run, "canceled")
        self.settle()

    def exit(self, run: ModelRun, how: str) -> None:
        self._end(run, how)
        self.settle()

    # --- what happens

    def pass_time(self, ms: int, *, is_noticed: bool = True) -> None:
        """``is_noticed`` is False where the daemon died before it could write down whose time had come."""
        self.wall_ms += ms
        self.steady_ms += ms
        if is_noticed:
            self.settle()

    def step_clock(self, ms: int) -> None:
        self.wall_ms += ms

    def edit(self, step: str, version: int | None, *, is_broken: bool) -> None:
        self.versions[step], self.is_broken = version, is_broken
        self.look()
        self.settle()

    def restart(self, *, unrecorded: ModelRun | None = None) -> None:
        """``unrecorded`` ended just before, but its end is recorded by the next daemon: its wait begins then."""
        self.steady_ms = self.wall_ms
        self.gone_since.clear()
        for run in self.runs:
            if isinstance(run.waits, tuple):
                why, until, whole = run.waits
                run.waits = (
                    why,
                    self.steady_ms + whole if run is unrecorded else min(until, self.steady_ms + whole),
                    whole,
                )
        self.settle()
        self.look()
        self.settle()

    # --- rules

    def settle(self) -> None:
        """Those whose time has come are ready; of the ready ones as many run as there are places, in their order."""
        due = [run for run in self.runs if isinstance(run.waits, tuple) and run.waits[1] <= self.steady_ms]
        for run in sorted(due, key=lambda run: run.waits[1]):  # type: ignore[index]
            self._make_ready(run)
        has_parked = False
        for run in sorted((r for r in self.runs if r.status == "queued" and r.waits is None), key=lambda r: r.ready):
            if sum(r.status == "running" for r in self.runs) >= MAX_PARALLEL:
                break
            version = self.versions[run.step]
            if version is None:
                run.waits = "package"
                has_parked = True
            else:
                run.status, run.shown = "running", version
                run.attempts += 1
        if has_parked:
            self.look()

    def look(self) -> None:
        """Runs whose package is back are ready; those whose step has been gone for a minute of looks fail."""
        for step in sorted(STEPS):
            waiting = [run for run in self.runs if run.waits == "package" and run.step == step]
            if not waiting or self.versions[step] is not None or self.is_broken:
                self.gone_since.pop(step, None)
            if not waiting:
                continue
            if self.versions[step] is not None:
                for run in waiting:
                    self._make_ready(run)
            elif not self.is_broken and self.steady_ms - self.gone_since.setdefault(step, self.steady_ms) >= GONE_MS:
                for run in waiting:
                    run.status, run.waits = "failed", None

    def _add(self, event: str, steps: tuple[str, ...]) -> None:
        for step in steps:
            version = self.versions[step]
            assert version is not None
            run = ModelRun(event, step, version)
            self._make_ready(run)
            self.runs.append(run)

    def _make_ready(self, run: ModelRun) -> None:
        self.numbers += 1
        run.ready, run.waits = self.numbers, None

    def _end(self, run: ModelRun, how: str) -> None:
        if how == "bad" and run.step == "again" and run.attempts < 3:
            delay = RETRY_MS * 2 ** (run.attempts - 1)
            run.status, run.waits = "queued", ("retry", self.steady_ms + delay, delay)
        else:
            run.status = "canceled" if how == "canceled" else "failed"
