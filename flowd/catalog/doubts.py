"""What is allowed in a package, and may not be what its author means. Told where somebody asks for a check."""

from collections.abc import Iterator

from flowd.domain import pointer
from flowd.domain.finding import Finding
from flowd.domain.flow import Flow
from flowd.domain.inputs import Input
from flowd.domain.step import Step
from flowd.formats.guesses import near_word

_MEMBERS = ("id", "type", "source", "occurredAt", "receivedAt", "payload")
"""What events have; a sender may add others, so only what looks like one of these is told."""


def doubts(flow: Flow) -> Iterator[Finding]:
    """One for each step that no event starts, and for each pointer that seems to be misspelled."""
    for step in flow.steps:
        if step.trigger is None and not step.needs:
            message = f'step "{step.name}": no event starts it, as it has no [steps.trigger] and no needs'
            remedy = 'Add [steps.trigger] with type = "an.event.type"; `flowd exec` runs it by hand.'
            yield flow.doubt(flow.place(step.name), "never-runs", message, remedy)
        for found, place in _pointers(step):
            if told := _misspelled(found):
                message = f'step "{step.name}": {told[0]}'
                yield flow.doubt(flow.place(step.name, *place), "unknown-member", message, suggestion=told[1])
    for index, found in enumerate(flow.concurrency.key if flow.concurrency is not None else ()):
        if told := _misspelled(found):
            yield flow.doubt(("concurrency", "key", index), "unknown-member", told[0], suggestion=told[1])


def _pointers(step: Step) -> Iterator[tuple[str, tuple[str | int, ...]]]:
    """All that lead into the event, each with its place below the step."""
    named: list[tuple[object, tuple[str | int, ...]]] = [(asked, ("env", name)) for name, asked in step.inputs.items()]
    named += [(asked, ("args", index)) for index, asked in enumerate(step.args)]
    for asked, place in named:
        if isinstance(asked, Input) and asked.pointer is not None and asked.need is None:
            yield asked.pointer, (*place, "pointer")
    for index, found in enumerate(step.concurrency.key if step.concurrency is not None else ()):
        yield found, ("concurrency", "key", index)
    for name, found in step.labels.items():
        yield found, ("labels", name)


def _misspelled(text: str) -> tuple[str, str] | None:
    """What is wrong with a pointer, and the pointer that was probably meant.

    >>> _misspelled("/paylod/tag")
    ("the pointer '/paylod/tag' leads to a member that events do not have by themselves", '/payload/tag')
    """
    first = next(iter(pointer.parse(text)), None)
    if first is None or first in _MEMBERS:
        return None
    close = near_word(first, _MEMBERS, cutoff=0.75)
    if close is None:
        return None
    meant = text.replace(f"/{first}", f"/{close}", 1)
    return f"the pointer {text!r} leads to a member that events do not have by themselves", meant
