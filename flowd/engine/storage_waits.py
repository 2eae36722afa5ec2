"""What the log is told of runs that wait for a full disk or a locked database: once for all, not each a second."""

import logging
from collections.abc import Callable

log = logging.getLogger("flowd.engine")

TELL_EVERY_S = 10.0


class StorageWaits:
    """Tells when runs begin to wait, now and then that they still do, and when none does any more."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        """``now_s`` is a clock that only goes forward."""
        self._now_s = now_s
        self._waiting: set[str] = set()
        self._since_s = 0.0
        self._told_s = 0.0

    @property
    def count(self) -> int:
        """How many runs wait now; one may wait for two things at a time, ``start run_…`` and ``run_…``."""
        return len({what.rpartition(" ")[2] for what in self._waiting})

    def wait(self, what: str, *, problem: str) -> None:
        """Something waits, or goes on doing so."""
        now_s = self._now_s()
        if not self._waiting:
            self._since_s, self._told_s = now_s, now_s - TELL_EVERY_S
        self._waiting.add(what)
        if now_s - self._told_s >= TELL_EVERY_S:
            self._told_s = now_s
            for_s = round(now_s - self._since_s)
            log.warning("runs wait for storage", extra={"runs": self.count, "for_s": for_s, "problem": problem})

    def over(self, what: str) -> None:
        """It waits no more, if it ever did."""
        if what in self._waiting:
            self._waiting.remove(what)
            if not self._waiting:
                log.info("storage is back", extra={"after_s": round(self._now_s() - self._since_s)})
