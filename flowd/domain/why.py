"""Says in one line why a run, or an attempt of one, ended as it did: in the step's own words where there are any."""

import re
from collections.abc import Mapping

from flowd.domain import excerpt
from flowd.domain.result import FlowResult
from flowd.domain.run import Attempt, Reason, Run

MAX_CHARACTERS = 500
"""Of what a step says; the rest is in its result and its output."""

_WENT_WELL = ("completed", "changed")
_CODE = re.compile(r"exited with (\d+)(?: \(command not (?:found|executable)\))?")
"""A sentence that says nothing but the exit code, and what shells mean by it, which their own message says, too."""

_SHOWS_LAST_LINE = frozenset({Reason.EXIT, Reason.SIGNAL, Reason.TIMEOUT, Reason.OUTPUT_LIMIT})
"""Ends for which what the step printed last is likely to say more. Others have all their reason in flowd's sentence."""


def of_run(run: Run) -> str | None:
    """Why a run ended; None while it goes on, where it went well, and where nothing is known of it."""
    if not run.status.is_final:
        return None
    said = None if run.effective_status in _WENT_WELL else run.result
    return line(f"{run.flow_name}/{run.step_name}", run.reason, run.error, None if said is None else _message(said))


def of_attempt(attempt: Attempt, label: str) -> str | None:
    """Why one of its attempts ended; ``label`` is ``flow/step``."""
    said = attempt.result
    message = None if said is None or said.status in _WENT_WELL else _message(said)
    return line(label, attempt.reason, attempt.error, message)


def line(label: str, reason: str | None, error: str | None, message: str | None) -> str | None:
    """Why something ended, from what is stored with its end.

    Args:
        label: ``flow/step``.
        reason: A `Reason`, as it is stored.
        error: flowd's sentence with the excerpt of the output.
        message: Of a result that does not say that all went well.

    >>> line("f/s", "exit", "Step f/s exited with 3\\nstderr:\\n  no room", None)
    'no room (exit code 3)'
    """
    sentence = (error or "").partition("\n")[0].removeprefix(f"Step {label} ")
    if not sentence:
        return message
    code = _CODE.fullmatch(sentence)
    what = f"exit code {code[1]}" if code else sentence
    if message:
        return f"{message} ({what})"
    if error is None or reason not in _SHOWS_LAST_LINE:
        return sentence
    complaint = excerpt.last_words(error, "stderr")
    if complaint and code:
        return f"{_short(complaint)} ({what})"
    words = complaint or excerpt.last_words(error, "stdout")
    return f"{sentence}; its last words: {_short(words)}" if words else sentence


def _message(said: FlowResult) -> str | None:
    if '"message"' not in said.text:  # most have none, and may be large
        return None
    return message_of(said.value)


def message_of(result: Mapping[str, object]) -> str | None:
    """What a step says for people, on one line; None where it says nothing."""
    message = result.get("message")
    return _short(message) if isinstance(message, str) and message.strip() else None


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MAX_CHARACTERS else f"{line[: MAX_CHARACTERS - 1]}…"
