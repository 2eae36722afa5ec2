"""What is allowed in a package, and may not be what its author means. Told where somebody asks for a check."""

import re
from collections.abc import Iterator

from flowd.domain import pointer
from flowd.domain.finding import Finding
from flowd.domain.flow import Flow
from flowd.domain.inputs import Input
from flowd.domain.step import Step
from flowd.formats.guesses import near_word

_MEMBERS = ("id", "type", "source", "occurredAt", "receivedAt", "payload")
"""What events have; a sender may add others, so only what looks like one of these is told."""

_IS_COMMAND_NEXT = re.compile(r"-\w*c$")  # as of `sh -ec`
_SHELL_WORD = re.compile(r"^~/|\$(?:[A-Z][A-Z0-9_]{2,}(?![A-Za-z0-9_])|\{[A-Z][A-Z0-9_]{2,}\})")
_NOT_EXPANDED = "Write the value itself; or let the script look the variable up, which it has in its environment."


def doubts(flow: Flow) -> Iterator[Finding]:
    """One for each step that no event starts, each pointer that seems to be misspelled, and each text that only a shell
    would change."""
    for step in flow.steps:
        if step.trigger is None and not step.needs:
            message = f'step "{step.name}": no event starts it, as it has no [steps.trigger] and no needs'
            remedy = 'Add [steps.trigger] with type = "an.event.type"; `flowd exec` runs it by hand.'
            yield flow.doubt(flow.place(step.name), "never-runs", message, remedy)
        for found, place in _pointers(step):
            if told := _misspelled(found):
                message = f'step "{step.name}": {told[0]}'
                yield flow.doubt(flow.place(step.name, *place), "unknown-member", message, suggestion=told[1])
        for what, found, place in _texts(step):
            if word := _for_a_shell(found):
                message = (
                    f'step "{step.name}": {what} is handed over as it stands: no shell puts anything in for "{word}"'
                )
                yield flow.doubt(flow.place(step.name, *place), "not-expanded", message, _NOT_EXPANDED)
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


def _texts(step: Step) -> Iterator[tuple[str, str, tuple[str | int, ...]]]:
    """All that is given to a step as text, but for what a shell is given to run; each with its place."""
    for name, text in step.env.items():
        yield f"env variable {name}", text, ("env", name)
    for index, given in enumerate(step.args):
        if isinstance(given, str) and not (index and _IS_COMMAND_NEXT.match(str(step.args[index - 1]))):
            yield f"argument {index + 1}", given, ("args", index)


def _for_a_shell(text: str) -> str | None:
    """The part of a text that a shell would put something in for. Text with blanks is a command or prose, which others
    than flowd may read; and names in small letters are variables of many languages.

    >>> _for_a_shell("$HOME/x"), _for_a_shell("--to=${FLOWD_RUN_ID}"), _for_a_shell("~/x")
    ('$HOME', '${FLOWD_RUN_ID}', '~/')
    >>> _for_a_shell("ssh -i $HOME/key"), _for_a_shell(".[$key]"), _for_a_shell("$NF"), _for_a_shell("a~/")
    (None, None, None, None)
    """
    found = None if re.search(r"\s", text) else _SHELL_WORD.search(text)
    return None if found is None else found[0]


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
