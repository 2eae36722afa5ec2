"""Runs and attempts: their statuses, the transitions between them, and how an attempt's end becomes an outcome."""

import signal as signals
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Literal, assert_never

from flowd.domain.people import Answer, Resolution
from flowd.domain.result import FlowResult, MalformedResult
from flowd.domain.waiting import WaitingFor


class ProcessStatus(StrEnum):
    """What flowd saw of the run."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def is_final(self) -> bool:
        """Nothing happens to the run by itself any more."""
        return self not in (ProcessStatus.QUEUED, ProcessStatus.RUNNING)


TRANSITIONS: Mapping[ProcessStatus, frozenset[ProcessStatus]] = MappingProxyType(
    {
        # Failed: its step was removed before it could start. Completed: what it needs did not end as it asks.
        ProcessStatus.QUEUED: frozenset(
            {ProcessStatus.RUNNING, ProcessStatus.COMPLETED, ProcessStatus.CANCELED, ProcessStatus.FAILED}
        ),
        # Back to the queue: another attempt by the step's retry policy, or a start that provably never happened.
        ProcessStatus.RUNNING: frozenset(
            {ProcessStatus.COMPLETED, ProcessStatus.FAILED, ProcessStatus.CANCELED, ProcessStatus.QUEUED}
        ),
        # A caller's retry of a run that needs attention, or of one that this run needs.
        ProcessStatus.COMPLETED: frozenset({ProcessStatus.QUEUED}),
        ProcessStatus.FAILED: frozenset({ProcessStatus.QUEUED}),
        ProcessStatus.CANCELED: frozenset({ProcessStatus.QUEUED}),
    }
)
"""The only ways from one status to another. The store changes a status by compare-and-swap along these."""


class Reason(StrEnum):
    """Why an attempt ended other than well; for `STEP_REMOVED`, `NEEDS_NOT_MET` and `KEY_BUSY`, why there was none.
    `SUPERSEDED` may be either."""

    NO_RESULT = "no_result"
    BAD_RESULT = "bad_result"
    EXIT = "exit"
    SIGNAL = "signal"
    TIMEOUT = "timeout"
    CANCELED = "canceled"
    SPAWN = "spawn"
    OUTPUT_LIMIT = "output_limit"
    INTERRUPTED = "interrupted"
    STEP_REMOVED = "step_removed"
    NEEDS_NOT_MET = "needs_not_met"
    BAD_NEXT = "bad_next"
    CHAIN_LIMIT = "chain_limit"
    SUPERSEDED = "superseded"
    KEY_BUSY = "key_busy"


UNSTARTED = frozenset({Reason.STEP_REMOVED, Reason.NEEDS_NOT_MET, Reason.KEY_BUSY})
"""Reasons for which a run ended and no attempt of it."""

ATTENTION = frozenset({"blocked", "needs_intervention"})
"""Result statuses that want a person. `failed` is not one: the reference system's tests assert that."""

RETRYABLE = ATTENTION | {"failed", "canceled"}
"""Effective statuses of which another attempt may be wanted."""

_KEPT_ON_FAILURE = frozenset({"failed", "blocked", "needs_intervention"})

Cause = Literal["timeout", "canceled", "output_limit", "orphaned", "keeper_ended", "daemon_ended"]
"""Why flowd ended a step."""

_BEYOND_LIMIT = {
    "SIGXCPU": "it used up cpu_time_s of its limits",
    "SIGXFSZ": "a file grew beyond file_bytes of its limits",
}
"""Signals that the kernel sends for one thing only."""


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process tree ended, as the keeper tells it.

    Attributes:
        code: Exit code, None when a signal ended it or nothing is known.
        signal: Signal number, None when it exited or nothing is known.
        cause: Why flowd ended it; None when it ended by itself.
        leftovers: ``"<pid> <command>"`` of processes that the step left behind and that were ended.
        survivors: ``"<pid> <command>"`` of processes that outlived SIGKILL.
        max_rss_bytes: Peak memory of the largest process, where known.
        cpu_ms: User and system time of the step and its reaped children, where known.
        out_of_memory: The kernel killed something of it for its cgroup's memory limit, or for want of memory at all.
        was_writing: What the step left behind still printed when it was ended.
        unwritten_bytes: What it printed and is not in its output, because that could not be written when it ended: the
            disk was full, or the file read-only.
        shrunk: The streams whose files were cut while it ran, as far as that was seen: a script that opens its output
            anew does that where it is a file (the executor ``systemd``).
        ended_at_ms: When the keeper saw the end of all of it, which may be long before a daemon hears of it. Equal ends
            may be of different instants.
        duration_ms: From its start until then, by a clock that nobody sets; None where nobody saw it. Equal ends may
            have taken differently long.
    """

    code: int | None = None
    signal: int | None = None
    cause: Cause | None = None
    leftovers: tuple[str, ...] = ()
    survivors: tuple[str, ...] = ()
    max_rss_bytes: int | None = None
    cpu_ms: int | None = None
    out_of_memory: bool = False
    was_writing: bool = False
    unwritten_bytes: int = 0
    shrunk: tuple[str, ...] = ()
    ended_at_ms: int | None = field(default=None, compare=False)
    duration_ms: int | None = field(default=None, compare=False)

    @property
    def is_known(self) -> bool:
        """Whether the exit status was seen."""
        return self.code is not None or self.signal is not None

    @property
    def is_unseen(self) -> bool:
        """Whether nobody saw how it ended, and flowd did not end it."""
        return not self.is_known and self.cause is None

    def completed_at_ms(self, started_at_ms: int, recorded_at_ms: int) -> int:
        """The instant to show: not before the start nor after it is recorded, whatever the clock did in between.

        >>> [exit_.completed_at_ms(3, 9) for exit_ in (Exit(ended_at_ms=5), Exit(ended_at_ms=1), Exit())]
        [5, 3, 9]
        """
        if self.ended_at_ms is None:
            return recorded_at_ms
        return min(recorded_at_ms, max(self.ended_at_ms, started_at_ms))


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
        """The same end as a failure, for what was to follow cannot: the result must not look like a success."""
        return replace(
            self, status=ProcessStatus.FAILED, reason=reason, error=error, result=None, reported_result=self.result
        )


@dataclass(frozen=True, slots=True)
class Attempt:
    """One process tree of a run.

    Attributes:
        measured_ms: How long it took, by a clock that nobody sets; None where that was not seen, or not measured yet.
    """

    id: str
    run_id: str
    number: int
    status: ProcessStatus
    worker_id: str
    started_at_ms: int
    boot_id: str = ""
    completed_at_ms: int | None = None
    reason: Reason | None = None
    error: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    pid: int | None = None
    command: tuple[str, ...] = ()
    cwd: str | None = None
    leftovers: tuple[str, ...] = ()
    survivors: tuple[str, ...] = ()
    stdout_bytes: int = 0
    stderr_bytes: int = 0
    output_truncated: bool = False
    max_rss_bytes: int | None = None
    cpu_ms: int | None = None
    package_hash: str | None = None
    measured_ms: int | None = None
    result: FlowResult | None = None
    resolution: Resolution | None = None
    answer: Answer | None = None
    """What it was told. ``result`` and ``resolution`` are there once they are not the run's any more."""

    @property
    def duration_ms(self) -> int | None:
        """How long it took. What flowd did not measure is told by the wall clock, but for one that was interrupted:
        nobody saw its end, and any time may have passed until the next daemon found out."""
        if self.measured_ms is not None or self.completed_at_ms is None or self.reason is Reason.INTERRUPTED:
            return self.measured_ms
        return max(0, self.completed_at_ms - self.started_at_ms)


@dataclass(frozen=True, slots=True)
class Run:
    """The durable promise to execute one step for one event.

    ``result`` is the last attempt's, once the run has ended. So are ``flow_version``, ``runner`` and ``package_hash``;
    before the first attempt they are those of the step that the event matched. ``round`` counts the accepts and replays
    of its flow for the event, from 1; ``is_linked``: it has to do with other runs by needs or keys, so that others may
    start when it ends.

    Attributes:
        resolution: How a person has put its end right; what the step said is its ``reported_result`` then.
        answer: What its attempts are told since a person answered.
        attempts_before: Attempts that do not count against its step's ``max_attempts``.
    """

    id: str
    event_id: str
    flow_name: str
    flow_version: int | float
    step_name: str
    runner: str
    package_hash: str
    status: ProcessStatus
    created_at_ms: int
    updated_at_ms: int
    started_at_ms: int | None = None
    completed_at_ms: int | None = None
    attempt_count: int = 0
    result: FlowResult | None = None
    reported_result: FlowResult | None = None
    reason: Reason | None = None
    error: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    replay_of: str | None = None
    cancel_requested: bool = False
    waiting_for: WaitingFor | None = None
    round: int = 1
    is_linked: bool = False
    resolution: Resolution | None = None
    answer: Answer | None = None
    attempts_before: int = 0
    attempts: tuple[Attempt, ...] = field(default=())

    @property
    def effective_status(self) -> str:
        """A person's word, else what the step said if it said something that stands, else what flowd saw."""
        if self.resolution is not None:
            return self.resolution.status
        return effective_status(self.status, self.result.status if self.result else None)

    @property
    def duration_ms(self) -> int | None:
        """How long its attempts took together, without the time between them. None until it has ended, and where that
        is not known of any of them."""
        known = [attempt.duration_ms for attempt in self.attempts if attempt.duration_ms is not None]
        return sum(known) if known and self.status.is_final else None

    @property
    def needs_attention(self) -> bool:
        """Whether it asks, and nobody has answered."""
        return self.effective_status in ATTENTION

    @property
    def is_retryable(self) -> bool:
        """Whether it has ended in a way of which another attempt may be wanted."""
        return self.status.is_final and self.effective_status in RETRYABLE


def effective_status(process: str, said: str | None) -> str:
    """What the step said if it said something that stands, else what flowd saw.

    >>> effective_status("completed", "changed"), effective_status("failed", None)
    ('changed', 'failed')
    """
    return said or str(process)


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
        case _:
            assert_never(cause)


def _why_none(exit_: Exit) -> str:
    if exit_.unwritten_bytes:
        return f", as far as is known: {exit_.unwritten_bytes} bytes of its output could not be recorded"
    if not exit_.leftovers:
        return ""
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


def signal_name(number: int) -> str:
    """A signal as people write it.

    >>> signal_name(15), signal_name(250)
    ('SIGTERM', 'signal 250')
    """
    try:
        return signals.Signals(number).name
    except ValueError:
        return f"signal {number}"
