"""What is allowed in a package, and may not be what its author means. Told where somebody asks for a check."""

from collections.abc import Iterator
from difflib import get_close_matches

from flowd.domain import pointer
from flowd.domain.flow import Flow, Step
from flowd.domain.inputs import Input

_MEMBERS = ("id", "type", "source", "occurredAt", "receivedAt", "payload")
"""What events have; a sender may add others, so only what looks like one of these is told."""


def doubts(flow: Flow) -> Iterator[str]:
    """A sentence for each step that no event starts, and for each pointer that seems to be misspelled."""
    for step in flow.steps:
        if step.trigger is None and not step.needs:
            yield f'step "{step.name}": no event starts it, as it has no [steps.trigger] and no needs'
        for found in _pointers(step):
            if told := _misspelled(found):
                yield f'step "{step.name}": {told}'
    if flow.concurrency is not None:
        yield from filter(None, map(_misspelled, flow.concurrency.key))


def _pointers(step: Step) -> Iterator[str]:
    """All that lead into the event."""
    for asked in (*step.inputs.values(), *step.args):
        if isinstance(asked, Input) and asked.pointer is not None and asked.need is None:
            yield asked.pointer
    if step.concurrency is not None:
        yield from step.concurrency.key
    yield from step.labels.values()


def _misspelled(text: str) -> str | None:
    """
    >>> _misspelled("/paylod/tag")
    "the pointer '/paylod/tag' leads to a member that events do not have by themselves: did you mean payload?"
    """
    first = next(iter(pointer.parse(text)), None)
    if first is None or first in _MEMBERS:
        return None
    close = get_close_matches(first, _MEMBERS, n=1, cutoff=0.75)
    if not close:
        return None
    return f"the pointer {text!r} leads to a member that events do not have by themselves: did you mean {close[0]}?"
