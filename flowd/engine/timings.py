"""What the runs of an event ask of times: as the packages in force declare it, and the event itself."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from flowd.domain import concurrency
from flowd.domain.flow import Snapshot
from flowd.domain.queueing import NewRun
from flowd.domain.step import Step
from flowd.domain.timing import Timing, WantedQuiet


def give(
    runs: Sequence[NewRun],
    event: Mapping[str, object],
    snapshot: Snapshot,
    *,
    not_before_ms: int | None,
    canonical: Callable[[object], bytes] | None,
) -> tuple[NewRun, ...]:
    """The runs with what they ask of times; those of which nobody asks for anything as they are.

    Args:
        event: The normalised event that they are made for.
        not_before_ms: When it lets them start.
        canonical: Makes JSON with sorted keys. None: a person asked for these runs, and they wait for no quiet.
    """

    def given(run: NewRun) -> NewRun:
        flow = snapshot.by_name.get(run.definition.flow_name)
        step = flow.step(run.definition.step_name) if flow else None
        if step is None:
            return run
        quiet = None if canonical is None else _quiet(step, event, canonical)
        timing = Timing(step.delay_ms, not_before_ms, step.queue_timeout_ms, quiet)
        return run if timing == _NOTHING else replace(run, timing=timing)

    return tuple(map(given, runs))


_NOTHING = Timing()


def _quiet(step: Step, event: Mapping[str, object], canonical: Callable[[object], bytes]) -> WantedQuiet | None:
    asked = step.debounce
    if asked is None:
        return None
    return WantedQuiet(concurrency.key_of(event, asked.key, canonical), asked.quiet_ms, asked.max_ms)
