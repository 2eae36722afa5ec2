"""Idle connections that threads share, one call at a time on each. Opens none."""

import threading
from typing import Generic, Protocol, TypeVar

from flowd_client import fork


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
    """May be used from several threads; in a forked child it is empty.

    Attributes:
        epoch: Note it before a call and give it to `put_back`: a `clear` in between ends the call's connection, too.
    """

    def __init__(self) -> None:
        self.epoch = 0
        self.forked()

    def forked(self) -> None:
        """See `flowd_client.fork.Copied`."""
        self._idle: list[C] = []
        self._lock = threading.Lock()
        fork.tell(self)

    def take(self) -> C | None:
        """A connection that can be used, which is the caller's alone then; None when there is none."""
        with self._lock:
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

    def clear(self) -> None:
        """Close every idle connection now, and those in use when their calls have been answered."""
        with self._lock:
            self.epoch += 1
            closed, self._idle = self._idle, []
        for connection in closed:
            connection.close()
