"""The outcome of an attempt as people read it: what was decided, with what the step printed last."""

from collections.abc import Callable
from dataclasses import replace

from flowd.domain import excerpt
from flowd.domain.definition import Definition
from flowd.domain.exit import Exit
from flowd.domain.outcome import Outcome, decide
from flowd.domain.run import ProcessStatus, Reason
from flowd.engine.outputs import CollectedOutput


def of_exit(exit_: Exit, said: CollectedOutput, definition: Definition, *, mask: Callable[[str], str]) -> Outcome:
    """The outcome of an attempt whose process has ended. ``mask`` takes secrets out of a text."""
    outcome = decide(exit_, said.result, label=definition.label, timeout_ms=definition.timeout_ms)
    if outcome.error is None:
        return outcome
    # Masked before it is cut: half a secret would not be recognised.
    end = excerpt.excerpt(mask(said.stderr_tail), mask(said.stdout_tail))
    if exit_.shrunk:
        why = "a script that opens it anew (> /dev/stderr) cuts its file"
        return replace(outcome, error=f"{outcome.error}; its {' and '.join(exit_.shrunk)} shrank: {why}\n{end}")
    return replace(outcome, error=f"{outcome.error}\n{end}")


def of_obstacle(why: str, definition: Definition, *, is_canceled: bool) -> Outcome:
    """The outcome of an attempt that could not start, or was canceled before it did."""
    label = definition.label
    why = why.removeprefix(f"{label}: ")  # the sentence names the step already
    if is_canceled:
        return Outcome(ProcessStatus.CANCELED, Reason.CANCELED, f"Step {label} was canceled: {why}")
    return Outcome(ProcessStatus.FAILED, Reason.SPAWN, f"Step {label} could not start: {why}")
