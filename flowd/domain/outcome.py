"""What is recorded of an attempt's end, decided from how its process ended and what the step said."""

from dataclasses import dataclass, replace
from typing import assert_never

from flowd.domain.exit import Cause, Exit, signal_name
from flowd.domain.result import FlowResult, MalformedResult
from flowd.domain.run import ProcessStatus, Reason

_KEPT_ON_FAILURE = frozenset({"failed", "blocked", "needs_intervention"})

_BEYOND_LIMIT = {
    "SIGXCPU": "it used up cpu_time_s of its limits",
    "SIGXFSZ": "a file grew beyond file_bytes of its limits",
}
"""Signals that the kernel sends for one thing only."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is recorded of an attempt's end.

    Attributes:
        result: What the step said, when it may stand beside the process status.
        reported_result: What it said otherwise: a success printed by a failed process must not look like one.
        error: A sentence, when the process failed or was canceled.
    """

    status: ProcessStatus
    reason: Reason | None = None
    error: str | None = None
    result: FlowResult | None = None
    reported_result: FlowResult | None = None
    exit_code: int | None = None
    signal: int | None = None

    def undone(self, reason: Reason, error: str) -> "Outcome":
        """The same end, recorded as a failure because what its result asks for cannot be done. The result is
        ``reported_result`` then, so that it does not look like a success."""
        if self.error is not None:
            error = f"{error}\n{self.error}"
        return replace(
            self, status=ProcessStatus.FAILED, reason=reason, error=error, result=None, reported_result=self.result
        )


def decide(exit_: Exit, said: FlowResult | MalformedResult | None, *, label: str, timeout_ms: int) -> Outcome:
    """The outcome of an attempt from how its process ended and what it said last on stdout.

    Args:
        exit_: How the process ended.
        said: The last FLOW_RESULT of stdout; None when there is none.
        label: ``flow/step``, for the error's sentence.
        timeout_ms: The step's, for the error's sentence.
    """
    outcome = _decide(exit_, said, label, timeout_ms)
    return replace(outcome, exit_code=exit_.code, signal=exit_.signal)


def _decide(exit_: Exit, said: FlowResult | MalformedResult | None, label: str, timeout_ms: int) -> Outcome:
    if exit_.cause is not None:
        return _ended_by_flowd(exit_.cause, exit_, said, label, timeout_ms)
    if exit_.signal is not None:
        name = signal_name(exit_.signal)
        return _failed(Reason.SIGNAL, f"Step {label} was ended by {name}{_why(exit_, name)}", said)
    if exit_.code:
        return _failed(Reason.EXIT, f"Step {label} exited with {_code(exit_.code)}{_why(exit_)}", said)
    if isinstance(said, FlowResult):
        return Outcome(ProcessStatus.COMPLETED, result=said)
    if not exit_.is_known:
        return Outcome(
            ProcessStatus.FAILED,
            Reason.INTERRUPTED,
            f"Step {label} was interrupted: it ended unseen and left no result",
        )
    if said is None:
        return Outcome(
            ProcessStatus.FAILED,
            Reason.NO_RESULT,
            f"Step {label} exited with 0 but printed no FLOW_RESULT line on stdout{_why_none(exit_)}",
        )
    return Outcome(ProcessStatus.FAILED, Reason.BAD_RESULT, f"Step {label} printed a bad FLOW_RESULT: {said.error}")


def _ended_by_flowd(
    cause: Cause, exit_: Exit, said: FlowResult | MalformedResult | None, label: str, timeout_ms: int
) -> Outcome:
    how = _how_it_ended(exit_)
    match cause:
        case "canceled":
            reported = said if isinstance(said, FlowResult) else None
            return Outcome(
                ProcessStatus.CANCELED, Reason.CANCELED, f"Step {label} was canceled ({how})", reported_result=reported
            )
        case "timeout":
            return _failed(Reason.TIMEOUT, f"Step {label} timed out after {timeout_ms} ms ({how})", said)
        case "output_limit":
            return _failed(Reason.OUTPUT_LIMIT, f"Step {label} wrote more output than max_output_bytes ({how})", said)
        case "orphaned":
            why = f"Step {label} was interrupted: no daemon came back within orphan_grace_s, so it was ended ({how})"
            return _failed(Reason.INTERRUPTED, why, said)
        case "keeper_ended":
            why = f"Step {label} was interrupted: flowd's keeper was told to end (SIGTERM) and ended all steps ({how})"
            return _failed(Reason.INTERRUPTED, why, said)
        case "daemon_ended":
            why = f"Step {label} was interrupted: flowd ended all steps when it stopped; its log says why ({how})"
            return _failed(Reason.INTERRUPTED, why, said)
        case "fenced":
            why = f"Step {label} was interrupted: its host could not renew its lease in the store, so it was ended"
            return _failed(Reason.INTERRUPTED, f"{why} ({how})", said)
        case _:
            assert_never(cause)


def _why_none(exit_: Exit) -> str:
    if exit_.unwritten_bytes:
        return f", as far as is known: {exit_.unwritten_bytes} bytes of its output could not be recorded"
    if not exit_.leftovers:
        return ', such as FLOW_RESULT {"status": "completed"}'
    how = "still printed when its grace_ms were over" if exit_.was_writing else "were still there"
    return f"; what it had started and left behind {how}, and was ended: {', '.join(exit_.leftovers)}"


def _failed(reason: Reason, error: str, said: FlowResult | MalformedResult | None) -> Outcome:
    if not isinstance(said, FlowResult):
        return Outcome(ProcessStatus.FAILED, reason, error)
    if said.status in _KEPT_ON_FAILURE:
        return Outcome(ProcessStatus.FAILED, reason, error, result=said)
    return Outcome(ProcessStatus.FAILED, reason, error, reported_result=said)


def _how_it_ended(exit_: Exit) -> str:
    if exit_.signal is not None:
        return f"ended by {signal_name(exit_.signal)}"
    return "its exit was not seen" if exit_.code is None else f"exited with {_code(exit_.code)}"


def _why(exit_: Exit, signal: str = "") -> str:
    if exit_.out_of_memory:
        return ": it ran out of memory (memory_bytes of its limits, if it has one, else the machine's)"
    return f": {_BEYOND_LIMIT[signal]}" if signal in _BEYOND_LIMIT else ""


def _code(code: int) -> str:
    """An exit code, with what shells mean by it.

    >>> _code(3), _code(127), _code(137)
    ('3', '127 (command not found)', '137 (a command in it was ended by SIGKILL)')
    """
    if code in (126, 127):
        return f"{code} (command not {'executable' if code == 126 else 'found'})"
    return f"{code} (a command in it was ended by {signal_name(code - 128)})" if 128 < code <= 128 + 64 else str(code)
