"""How a process tree ended, as the keeper tells it."""

import signal as signals
from dataclasses import dataclass, field
from typing import Literal

Cause = Literal["timeout", "canceled", "output_limit", "orphaned", "keeper_ended", "daemon_ended", "fenced"]
"""Why flowd ended a step."""


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


def signal_name(number: int) -> str:
    """A signal as people write it.

    >>> signal_name(15), signal_name(250)
    ('SIGTERM', 'signal 250')
    """
    try:
        return signals.Signals(number).name
    except ValueError:
        return f"signal {number}"
