"""What must be true of the model at every moment: nothing lost, doubled, out of order, over a limit, or waiting without
a word."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from model import rules
from model.model import Model
from model.records import UNFINISHED, Lane, Round, Run, Wait


class Truths:
    """Looks at a model after each act."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._starts = 0
        self._asked_for: set[Run] = set()
        self._places_of_the_dead = 0

    def daemon_died(self) -> None:
        """What it had started before, it started by its own number of places, which its successor does not know."""
        self._places_of_the_dead = self._model.places

    def broken(self, asked_for: Run | None = None) -> list[str]:
        """A sentence for each truth that is none.

        Args:
            asked_for: The run that somebody just retried or answered, which starts whatever its ``when`` says.
        """
        model = self._model
        if asked_for is not None:
            self._asked_for -= set(asked_for.all_below)
            self._asked_for.add(asked_for)
        return [
            *self._of_starts(),
            *_of_rounds(model),
            *(problem for run in model.runs for problem in _of_run(model, run)),
            *_of_lanes(model),
            *_of_places(model),
        ]

    def _of_starts(self) -> Iterator[str]:
        new = self._model.started[self._starts :]
        self._starts = len(self._model.started)
        running = sum(run.status == "running" for run in self._model.runs)
        places, self._places_of_the_dead = max(self._model.places, self._places_of_the_dead), 0
        if new and running > places:
            yield "more was started than there are places"
        for run in new:
            if run.step.needs and run not in self._asked_for and not rules.is_met(run):
                yield f"{run} was started although its needs say that it should not"


def _of_rounds(model: Model) -> Iterator[str]:
    """Nothing lost, nothing doubled."""
    if sum(len(round_.runs) for round_ in model.rounds) != len(model.runs):
        yield "a run is in no round"
    causes = Counter((r.event.id, id(r.cause), r.flow.name) for r in model.rounds if r.cause is not None)
    yield from (f"{event} was caused twice by one round" for (event, _, _), times in causes.items() if times > 1)
    if Counter(model.started) != Counter({run: run.attempts for run in model.runs if run.attempts}):
        yield "an attempt was not started once"
    for round_ in model.rounds:
        if round_.event.depth and round_.cause is None and round_.number == 1 and round_.event.cause is None:
            yield f"{round_.event.id} is below nothing"


def _of_run(model: Model, run: Run) -> Iterator[str]:
    has_begun = run.is_ready or run.status == "running" or (run.waits is not None and run.waits.kind != "needs")
    if has_begun and any(need.status in UNFINISHED for need in run.needs):
        yield f"{run} goes before what it needs"
    if (run.is_ready or run.status == "running") and any(need.asks for need in run.needs):
        yield f"{run} goes before a person's word"
    if run.is_ready and model.pause_of(run) is not None:
        yield f"{run} is ready although it is paused"
    if run.status == "queued" and (run.result or run.resolution or run.asks):
        yield f"{run} has not ended, and has a result"
    if run.expires_ms is not None and (run.status != "queued" or run.expires_ms <= model.steady_ms):
        yield f"{run} is in the queue for too long"
    if (run.expires_ms is not None) != (run.step.queue_timeout_ms is not None and _is_in_queue(run)):
        yield f"{run} may wait for {run.expires_ms}"
    if run.status != "queued" and run.waits is not None:
        yield f"{run} is {run.status} and waits"
    if run.waits is not None and not _is_true(model, run, run.waits):
        yield f"{run} waits for {run.waits.kind}, which is not so"


def _is_in_queue(run: Run) -> bool:
    return run.status == "queued" and not run.is_called_off and (run.waits is None or run.waits.kind == "key")


def _is_true(model: Model, run: Run, wait: Wait) -> bool:
    match wait.kind:
        case "needs":
            unfinished = tuple(need.step.name for need in run.needs if need.status in UNFINISHED)
            return bool(unfinished) and wait.what == unfinished
        case "person":
            return isinstance(wait.what, Run) and wait.what.asks and wait.what in run.needs
        case "time":
            return wait.until_ms > model.steady_ms
        case "instant":
            return wait.until_ms > model.wall_ms
        case "pause":
            return model.pause_of(run) is not None
        case "key":
            lane = wait.what
            assert isinstance(lane, Lane)
            return not lane.has_room and (run in lane.waiting or run.round in lane.waiting)
        case "package":
            return model.step_in_force(run) is None


def _of_lanes(model: Model) -> Iterator[str]:
    for name, lane in model.lanes.items():
        if len(lane.holders) > lane.limit or len(set(lane.holders)) != len(lane.holders):
            yield f"{name} is held beyond its limit"
        if any(not _may_hold(one) for one in lane.holders):
            yield f"{name} is held by something that does not go on"
        if any(not _stands_in(lane, one) for one in lane.waiting):
            yield f"in the line for {name} stands something that waits for something else"
    for run in model.runs:
        if run.is_ready or run.status == "running":
            for one in (run, run.round):
                lane = model.lane_of(one)  # type: ignore[assignment]
                if lane is not None and one not in lane.holders:
                    yield f"{run} goes without its key"


def _may_hold(one: Run | Round) -> bool:
    if isinstance(one, Round):
        return bool(one.unfinished)
    return one.is_ready or one.status == "running"


def _stands_in(lane: Lane, one: Run | Round) -> bool:
    runs = [one] if isinstance(one, Run) else one.unfinished
    return any(run.waits == Wait("key", lane) for run in runs)


def _of_places(model: Model) -> Iterator[str]:
    running = [run for run in model.runs if run.status == "running"]
    if len(running) < model.places and model.ready():
        yield f"{model.ready()[0]} is ready, and a place is free"
