"""Runs and attempts, and their statuses."""

from dataclasses import dataclass, field
from enum import StrEnum

from flowd.domain.labels import Label
from flowd.domain.people import Answer, Resolution
from flowd.domain.progress import Progress
from flowd.domain.result import FlowResult
from flowd.domain.waiting import WaitingFor


class ProcessStatus(StrEnum):
    """What flowd saw of the run. The store changes it by compare-and-swap.

    A run that is queued may also end unstarted: as canceled; as failed, where its step was removed or it waited too
    long for its turn; as completed, where what it needs did not end as it asks, or another run came in its place. A
    running one goes back to the queue for another attempt, or because its start provably never happened; a final one
    by a caller's retry, of itself or of a run that it needs.
    """

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def is_final(self) -> bool:
        """Nothing happens to the run by itself any more."""
        return self not in (ProcessStatus.QUEUED, ProcessStatus.RUNNING)


class Reason(StrEnum):
    """Why an attempt ended other than well; for `STEP_REMOVED`, `NEEDS_NOT_MET`, `KEY_BUSY` and `QUEUE_TIMEOUT`, why
    there was none. `SUPERSEDED` may be either."""

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
    QUEUE_TIMEOUT = "queue_timeout"


BAD_RESULTS = ("failed", "canceled", "blocked", "needs_intervention")
"""What steps and people say of runs that completed and did not end well."""

UNSTARTED = frozenset({Reason.STEP_REMOVED, Reason.NEEDS_NOT_MET, Reason.KEY_BUSY, Reason.QUEUE_TIMEOUT})
"""Reasons for which a run ended and no attempt of it."""

ATTENTION = frozenset({"blocked", "needs_intervention"})
"""Result statuses that ask for a person. `failed` is not one: the reference system's tests assert that."""

RETRYABLE = ATTENTION | {"failed", "canceled"}
"""Effective statuses of which another attempt may be wanted."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One process tree of a run.

    Attributes:
        measured_ms: How long it took, by a clock that nobody sets; None where that was not seen, or not measured yet.
        host: On which host it ran, in a store that hosts share; None in one of our own.
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
    host: str | None = None

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
        labels: What it is found by, as its step declared them when it was made.
        progress: How far its running step says that it is.
        bound_to: The host that alone can start it, as it has the folder of its round; None where any may.
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
    labels: tuple[Label, ...] = ()
    progress: Progress | None = None
    bound_to: str | None = None
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
