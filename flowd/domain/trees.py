"""Trees: an event, the events that its runs caused, theirs, and so on. What a result says is to come next, and how much
that may be. No I/O.

A run causes events by the ``next`` of the result that ends it, or by dispatching them while it runs. Each event has one
cause, the first: what a later round of the same flow and event causes again is a new round of it and no new cause.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flowd.domain import event as events
from flowd.domain.errors import ChainLimitError, InvalidEventError
from flowd.domain.event import Event
from flowd.domain.queueing import MAX_AT_ONCE, QueueBounds
from flowd.domain.result import FlowResult

MAX_DEPTH = 32
"""Of an event below its root, whose depth is 0. A chain that goes deeper is most likely one without an end."""

MAX_EVENTS = 10_000
"""Of a tree, unless ``max_tree_events`` says otherwise."""

GOES_ON = frozenset({"completed", "changed"})
"""Result statuses whose ``next`` counts."""


_NAMED = 3
"""Of many events in a sentence."""


@dataclass(frozen=True, slots=True)
class CausedBy:
    """The run that caused an event, and the event that it is a run of."""

    run_id: str
    event_id: str


@dataclass(frozen=True, slots=True)
class TreeBounds:
    """How much runs may cause.

    Attributes:
        max_events: Of a tree, its root included.
        queue: Of what is queued.
    """

    max_events: int
    queue: QueueBounds


@dataclass(frozen=True, slots=True)
class CalledOff:
    """Runs that the cancel of an event, or of its tree, means, by their ids, in the order of acceptance.

    Attributes:
        runs: All that had not ended, or asked a person.
        running: Those of them that run.
    """

    runs: tuple[str, ...]
    running: tuple[str, ...]


class BadNextError(InvalidEventError):
    """The ``next`` of a result is no list of events. The message is the end of a sentence that names the step."""


def next_events(result: FlowResult, *, first_run_id: str, now: str, max_events: int) -> list[Event]:
    """The events that a result says are to come next, normalised. One without an id gets that of the run and its place.

    Args:
        first_run_id: Of the run that said it, or of the one that it is a replay of: a replay causes the same events.
        now: When they are received.
        max_events: More than this are not looked at.

    Raises:
        BadNextError: It is no list of events.
        ChainLimitError: They are too many.

    >>> result = FlowResult("changed", '{"status":"changed","next":[{"type":"built"},{"id":"e2","type":"told"}]}')
    >>> [event.id for event in next_events(result, first_run_id="run_1", now="2026-01-01T00:00:00.000Z", max_events=9)]
    ['run_1:0', 'e2']
    """
    found = _next(result)
    if found is None:
        return []
    if not isinstance(found, list):
        raise BadNextError("next must be a list of events")
    if len(found) > max_events:
        raise ChainLimitError(f"next has {len(found)} events; a tree has {max_events} at most (max_tree_events)")
    return [_event(item, index, first_run_id, now) for index, item in enumerate(found)]


def conflict(event_ids: Sequence[str]) -> str:
    """The end of a sentence about a step whose result named events by ids that stand for others already.

    >>> conflict(["e1"])
    'caused no event e1: one with this id and other content is there already'
    >>> conflict(["e1", "e2", "e3", "e4", "e5"])
    'caused no events e1, e2, e3 and 2 more: others with these ids and other content are there already'
    """
    if len(event_ids) == 1:
        return f"caused no event {event_ids[0]}: one with this id and other content is there already"
    more = f" and {len(event_ids) - _NAMED} more" if len(event_ids) > _NAMED else ""
    named = ", ".join(event_ids[:_NAMED])
    return f"caused no events {named}{more}: others with these ids and other content are there already"


def too_many_runs() -> ChainLimitError:
    """The refusal of a ``next`` that would make more runs than may be made at once."""
    return ChainLimitError(
        f"its next makes more than {MAX_AT_ONCE} runs at once. Let it cause fewer events, whose steps have a next with "
        "the others"
    )


def has_next(result: FlowResult | None) -> bool:
    """Whether a result says that anything is to come next, be it well formed or not."""
    return result is not None and bool(_next(result))


def _next(result: FlowResult) -> object:
    if '"next":' not in result.text:  # most have none, and may be long
        return None
    return result.value.get("next")


def _event(item: object, index: int, first_run_id: str, now: str) -> Event:
    if isinstance(item, Mapping) and "id" not in item:
        item = {"id": f"{first_run_id}:{index}", **item}
    try:
        return events.normalise(item, now=now)
    except InvalidEventError as error:
        raise bad_next(index, error) from error


def bad_next(index: int, error: InvalidEventError) -> BadNextError:
    """That this one of the events is none."""
    return BadNextError(f"next[{index}]: {error.message}")
