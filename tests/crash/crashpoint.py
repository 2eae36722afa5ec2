"""A named point at which a process kills itself, once, when it was armed. Standard library only: the keeper loads it.

The driver arms a point by writing ``<name>#<n>`` into a file. The n-th time the process comes by, it removes it and
dies by SIGKILL; where the arming ends with ``stop``, it stands still. Removing comes first, so that one arming is one
death.
"""

from __future__ import annotations

import os
import signal

STORE = ("accept", "claim", "note_start", "finish", "requeue")
LEASES = ("renew", "declare_lost", "return_run")
WRITER = ("begin", "commit")
"""In the midst of a transaction of a store that hosts share: after its ``begin``, no other host can write."""
KEEPER = ("start", "wait", "forget")


def _around(*ports: tuple[str, tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(
        f"{port}.{method}:{when}" for port, methods in ports for method in methods for when in ("before", "after")
    )


DAEMON_POINTS = _around(("store", STORE), ("keeper", KEEPER))
WRITER_POINTS = _around(("writer", WRITER))
HOST_POINTS = DAEMON_POINTS + _around(("store", LEASES)) + WRITER_POINTS
"""Of a daemon whose store hosts share."""
KEEPER_POINTS = (
    "journal.begin:before",
    "journal.begin:after",
    "keeper-process.spawn:after",
    "recording.pipes:before",
    "recording.pipes:after",
    "recording.standby:before",
    "recording.standby:after",
    "recording.drain:before",
    "recording.drain:after",
    "recording.order:before",
    "recording.order:after",
    "recording.end:before",
    "recording.end:after",
    "recording.take_over:before",
    "recording.take_over:after",
    "journal.started:after",
    "keeper-process.told-start:after",
    "journal.exit:before",
    "journal.exit:after",
    "keeper-process.told-exit:after",
    "journal.forget:before",
    "journal.forget:after",
)


class CrashPoints:
    """The points of one kind of process (``daemon`` or ``keeper``)."""

    def __init__(self, arming_file: str) -> None:
        self._file = arming_file
        self._armed = ""
        self._passed = 0
        self.are_off = False

    def pass_by(self, name: str) -> None:
        """Die here, if this is the armed point and it is time."""
        if self.are_off:
            return
        try:
            with open(self._file, encoding="ascii") as file:
                armed = file.read()
        except OSError:
            return
        if armed != self._armed:
            self._armed, self._passed = armed, 0
        wanted, _, nth = armed.split(" ")[0].partition("#")
        if wanted != name:
            return
        self._passed += 1
        if self._passed >= int(nth or 1):
            os.unlink(self._file)
            os.kill(os.getpid(), signal.SIGSTOP if armed.endswith(" stop") else signal.SIGKILL)
