"""The model of times: delays, instants, quiet, and how long a run may stand in the queue."""

from __future__ import annotations

from model.records import Run, Wait

LOOK_MS = 10_000
"""Somebody who waits for an instant looks at the clock so often."""


class Times:
    """What of the queue goes by clocks: delays by the steady one, instants by the wall clock."""

    def __init__(self) -> None:
        self.runs: list[Run] = []
        self.wall_ms = self.steady_ms = 1_000_000
        self.bursts: dict[tuple[str, str, str | None], tuple[Run, int | None]] = {}
        """The run that stands for the events of a step and key, and when it starts at the latest."""

    def _is_kept_by_time(self, run: Run) -> bool:
        """A delay or quiet comes first, and then the event's instant. Who comes from one of them has waited for it."""
        step, before = run.step, run.waits
        if before is None or before.kind not in ("time", "instant"):
            if run.waits_for_quiet and step.quiet is not None:
                self._come_to_burst(run)
                return True
            if step.delay_ms:
                run.waits = Wait("time", "delay", self.steady_ms + step.delay_ms, step.delay_ms)
                return True
        if run.not_before_ms is not None and run.not_before_ms > self.wall_ms:
            run.waits = Wait("instant", "notBefore", run.not_before_ms)
            return True
        return False

    def _come_to_burst(self, run: Run) -> None:
        quiet = run.step.quiet
        assert quiet is not None
        name = run.step.flow, run.step.name, run.round.key if quiet.has_key else None
        latest = None if quiet.max_ms is None else self.steady_ms + quiet.max_ms
        older, known = self.bursts.get(name, (None, None))
        waits = None if older is None else older.waits
        if older is not None and waits is not None and waits.what == "debounce" and not older.is_called_off:
            latest = min(latest, known) if latest is not None and known is not None else latest
            self._supersede_for_quiet(older)
        self.bursts[name] = run, latest
        until = self.steady_ms + quiet.quiet_ms
        until = until if latest is None else min(until, latest)
        run.waits = Wait("time", "debounce", until, max(0, until - self.steady_ms))

    def _supersede_for_quiet(self, run: Run) -> None:
        raise NotImplementedError

    def is_due(self, wait: Wait) -> bool:
        """Whether a wait for a time is over."""
        return wait.until_ms <= (self.steady_ms if wait.kind == "time" else self.wall_ms)

    def due(self) -> list[tuple[Run, str]]:
        """The runs whose time has come, in the order in which they go on, and behind which gate."""
        found = []
        for kind in ("time", "instant"):
            over = [run for run in self.runs if run.waits and run.waits.kind == kind and self.is_due(run.waits)]
            found += sorted(over, key=lambda run: run.waits.until_ms)  # type: ignore[union-attr]
        return [(run, "time" if run.waits and run.waits.what == "retry" else "person") for run in found]

    # --- how long in the queue

    def begin_to_queue(self, run: Run) -> None:
        """It waits for its key or its place from now on, if it has not done so before."""
        timeout = run.step.queue_timeout_ms
        if timeout is not None and run.expires_ms is None:
            run.queue_left_ms = timeout if run.queue_left_ms is None else run.queue_left_ms
            run.expires_ms = self.steady_ms + run.queue_left_ms

    def hold_in_queue(self, run: Run) -> None:
        """It waits for something else: its time in the queue stands still."""
        if run.expires_ms is not None:
            run.queue_left_ms, run.expires_ms = run.expires_ms - self.steady_ms, None

    def expired(self) -> list[Run]:
        """Those that have waited too long, in the order in which they end."""
        found = [
            run
            for run in self.runs
            if run.status == "queued" and not run.is_called_off and run.expires_ms is not None
            and run.expires_ms <= self.steady_ms
        ]  # fmt: skip
        return sorted(found, key=lambda run: (run.expires_ms or 0, run.seq))
