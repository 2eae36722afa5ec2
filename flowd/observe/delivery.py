"""Delivers log entries without making the work wait for them: what cannot go out now waits in a bounded queue."""

import logging
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

Entry = TypeVar("Entry")

MAX_WAITING_BYTES = 1 << 20
"""Of entries that wait; some thousands. More are counted and dropped."""
_FIRST_PAUSE_S, _MAX_PAUSE_S = 0.05, 1.0
"""Between tries, doubled after each that failed."""
_BATCH = 100
"""Entries sent before a writer of another thread gets its turn at the lock."""
_LAST_TRY_S = 1.0
"""How long the end of the process waits for entries to go out."""


class Outlet(Protocol[Entry]):
    """A place that log entries go to."""

    def render(self, record: logging.LogRecord) -> Entry:
        """The entry of a record."""
        ...

    def size_bytes(self, entry: Entry) -> int:
        """About what an entry takes."""
        ...

    def delay(self, entry: Entry, record: logging.LogRecord) -> None:
        """Note in an entry when it was made, because it will go out later."""
        ...

    def send(self, entry: Entry) -> None:
        """Send an entry, without waiting.

        Raises:
            OSError: It cannot go out now. The next call has the same entry and goes on where this one stopped.
        """
        ...

    def close(self) -> None:
        """Let go of the place."""
        ...


@dataclass(frozen=True, slots=True)
class Health:
    """How the log fares.

    Attributes:
        dropped: Entries that were lost since the start.
        waiting: Entries that could not go out yet.
        problem: Why the last one that failed did.
    """

    dropped: int
    waiting: int
    problem: str


class Delivery(logging.Handler, Generic[Entry]):
    """Sends entries in the order of their records.

    Whoever logs never waits for the place where the log goes, and never sees its errors: a full disk, a pipe that
    nobody reads, a journal that does not run. While an entry cannot go out, it and those after it wait for a thread
    that tries again. Those for which there is no room are dropped, and an entry says how many, once the others are out.
    """

    def __init__(self, outlet: Outlet[Entry]) -> None:
        super().__init__()
        self._outlet = outlet
        self._waiting: deque[Entry] = deque()
        self._waiting_bytes = 0
        self._dropped = self._dropped_untold = 0
        self._problem = ""
        self._thread: threading.Thread | None = None

    @property
    def health(self) -> Health | None:
        """What was lost and what waits; None while everything has gone out."""
        if not self._dropped and not self._waiting:
            return None
        return Health(self._dropped, len(self._waiting), self._problem)

    def emit(self, record: logging.LogRecord) -> None:
        """Send an entry, or have it wait."""
        try:
            entry = self._outlet.render(record)
        except Exception as error:  # noqa: BLE001 - of a value that cannot be shown; no reason to stop anything
            self._drop(f"{type(error).__name__} in {record.msg!r}")
            return
        if not self._waiting and self._is_sent(entry):
            return
        self._enqueue(entry, record)

    def flush(self) -> None:
        """Give what waits a last chance of a second: the process ends."""
        deadline_s = time.monotonic() + _LAST_TRY_S
        with self._locked():
            while self._waiting and time.monotonic() < deadline_s:
                if self._send_waiting():
                    time.sleep(_FIRST_PAUSE_S)

    def close(self) -> None:
        """Let go of the place. What still waits is lost."""
        with self._locked():
            self._waiting.clear()
            self._outlet.close()
        super().close()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.acquire()
        try:
            yield
        finally:
            self.release()

    def _is_sent(self, entry: Entry) -> bool:
        try:
            self._outlet.send(entry)
        except OSError as error:
            self._problem = error.strerror or str(error)
            return False
        return True

    def _enqueue(self, entry: Entry, record: logging.LogRecord) -> None:
        self._outlet.delay(entry, record)
        size_bytes = self._outlet.size_bytes(entry)
        if self._waiting and self._waiting_bytes + size_bytes > MAX_WAITING_BYTES:
            self._drop(self._problem)
            return
        self._waiting.append(entry)
        self._waiting_bytes += size_bytes
        if self._thread is None:
            thread = threading.Thread(target=self._deliver, name="log delivery", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # no room for a thread now; the next entry tries again
                return
            self._thread = thread

    def _drop(self, problem: str) -> None:
        self._problem = problem
        self._dropped += 1
        self._dropped_untold += 1

    def _deliver(self) -> None:
        """Try again until nothing waits."""
        pause_s = _FIRST_PAUSE_S
        while True:
            time.sleep(pause_s)
            with self._locked():
                first = self._waiting[0] if self._waiting else None
                is_stuck = self._send_waiting() and self._waiting[0] is first
                if not self._waiting:
                    self._thread = None
                    return
            pause_s = min(pause_s * 2, _MAX_PAUSE_S) if is_stuck else _FIRST_PAUSE_S if first is None else 0

    def _send_waiting(self) -> bool:
        """Send some of what waits, then say what was dropped. Returns whether the place takes no more."""
        for _ in range(_BATCH):
            if not self._waiting:
                break
            if not self._is_sent(self._waiting[0]):
                return True
            self._waiting_bytes -= self._outlet.size_bytes(self._waiting.popleft())
        if not self._waiting and self._dropped_untold:
            count, self._dropped_untold = self._dropped_untold, 0
            extra = {"dropped": count, "problem": self._problem}
            self.emit(
                logging.getLogger("flowd.log").makeRecord(
                    "flowd.log", logging.WARNING, "", 0, "log entries dropped", (), None, extra=extra
                )
            )
        return False
