"""Steps as processes: what is started, and what can keep it from that."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NotRequired, TypedDict

from flowd.domain.limits import Limits
from flowd.domain.needs import NeedEnd
from flowd.domain.people import Answer
from flowd.domain.timing import Burst


@dataclass(frozen=True, slots=True)
class Command:
    """A step as a process to start.

    Attributes:
        argv: Absolute program first.
        masked_by: The beginning of a command line that starts this one and masks the secrets in what it prints; empty
            where it is given none.
        env: Set on top of the daemon's environment.
        stdin: What the step reads: the context as JSON.
    """

    argv: tuple[str, ...]
    cwd: str
    env: Mapping[str, str]
    stdin: bytes
    masked_by: tuple[str, ...] = ()

    @property
    def started_argv(self) -> tuple[str, ...]:
        """What is started."""
        return (*self.masked_by, *self.argv)


@dataclass(frozen=True, slots=True)
class StepContext:
    """What a step is told beside its definition.

    Attributes:
        event_json: The normalised event as JSON.
        attempt_id: As the views show it.
        round_dir: The folder of the run's round; None where its flow asks for none.
        needs: How those steps ended that this one needs.
        answer: What a person gave the run since it last asked.
        traceparent: Of the trace that the event belongs to.
        fence: See `flowd.domain.queueing.StartedRun`.
        burst: The events for which this run stands beside its own; None where its step waits for no quiet.
    """

    event_id: str
    event_json: bytes
    run_id: str
    attempt_id: str
    attempt_number: int
    is_replay: bool
    needs: tuple[NeedEnd, ...] = ()
    round_dir: str | None = None
    answer: Answer | None = None
    traceparent: str | None = None
    fence: int = 0
    burst: Burst | None = None


@dataclass(frozen=True, slots=True)
class Launch:
    """An attempt to start, as the keeper gets it.

    Attributes:
        stdout_path: Created by the keeper, opened for appending; so is ``stderr_path``.
        max_output_bytes: Per stream; more ends the step with cause ``output_limit``.
        detach: Leave processes alone that the step leaves behind.
        limits: What it may use; one that cannot be kept is a `SpawnError`.
        lease_until_s: When the keeper ends it unless its lease is renewed before; see `flowd.ports.Keeper.lease`. None
            where it has no lease.
    """

    attempt_id: str
    command: Command
    stdout_path: str
    stderr_path: str
    timeout_s: float
    grace_s: float
    max_output_bytes: int
    detach: bool = False
    limits: Limits | None = None
    lease_until_s: float | None = None


class KeeperRecord(TypedDict):
    """What a keeper knew of an attempt when it was last connected to."""

    id: str
    state: Literal["running", "exited"]
    pid: NotRequired[int]


class SpawnError(Exception):
    """The step could not be started; nothing runs. The message names what is missing and the remedy.

    Attributes:
        is_fenced: Nothing is missing, but its host was too late, and another one may have its run.
    """

    is_fenced = False


class NoRoomError(SpawnError):
    """The disk is full, or flowd's own files may not be written, or there are too many processes, so the step could not
    be started; nothing runs. Once there is room, the same start works."""


class LeaseOverError(SpawnError):
    """The lease of the attempt was over before it could start; nothing runs."""

    is_fenced = True


class BusyStartError(SpawnError):
    """Something that passes is in the way of the start; nothing runs.

    Attributes:
        is_shortage: The user has as many processes as it may; else the program is open for writing.
    """

    def __init__(self, message: str, *, is_shortage: bool) -> None:
        super().__init__(message)
        self.is_shortage = is_shortage

    def lasting(self) -> SpawnError:
        """The error where it does not pass: a shortage is no fault of the step's, so its run goes on waiting."""
        return (NoRoomError if self.is_shortage else SpawnError)(str(self))


class KeeperLostError(Exception):
    """The keeper died while this was under way. Whether the step was started is told by `Keeper.known` later on."""
