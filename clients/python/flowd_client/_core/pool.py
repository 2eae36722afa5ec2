"""Idle connections that threads share, one call at a time on each. Opens none."""

import os
import threading
from typing import Generic, Protocol, TypeVar


class Connection(Protocol):
    """What can be kept for the next call."""

    def is_quiet(self) -> bool:
        """Whether nothing came since the last response: an idle connection speaks only to end."""
        ...

    def close(self) -> None:
        """Let go of it. May be called twice."""
        ...


C = TypeVar("C", bound=Connection)


class Pool(Generic[C]):
    """May be used from several threads.

    Attributes:
        epoch: Note it before a call and give it to `put_back`: a `clear` in between ends the call's connection, too.
    """

    def __init__(self) -> None:
        self.epoch = 0
        self._idle: list[C] = []
        self._lock = threading.Lock()
        self._pid = os.getpid()

    def take(self) -> C | None:
        """A connection that can be used, which is the caller's alone then; None when there is none."""
        with self._lock:
            if (
                self._pid != os.getpid()
            ):  # after a fork both processes hold the same sockets; only the parent may use them
                self._pid = os.getpid()
                self._close_all()
            while self._idle:
                connection = self._idle.pop()
                if connection.is_quiet():
                    return connection
                connection.close()
        return None

    def put_back(self, connection: C, epoch: int) -> None:
        """Keep a connection for the next call, or close it if the pool was cleared since ``epoch``."""
        with self._lock:
            if epoch == self.epoch:
                self._idle.append(connection)
                return
        connection.close()

    def clear(self) -> list[C]:
        """Close every idle connection now, and those in use when their calls have been answered. Returns the first."""
        with self._lock:
            self.epoch += 1
            return self._close_all()

    def _close_all(self) -> list[C]:
        closed, self._idle = self._idle, []
        for connection in closed:
            connection.close()
        return closed
