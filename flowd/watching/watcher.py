"""Watches the flow folders from a thread of its own, and tells that something may have changed. The scanner finds what.

Reports of the operating system are only hints here: a watch on a folder that was removed and made again is silently
dead, an overflowing queue is not told, and a save by rename comes as almost anything. So every report means "look",
and there is a look now and then without any.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping

# The documented low-level interface: only with it can a new watch be made before the old one is dropped.
from watchfiles._rust_notify import RustNotify

from flowd.watching.folders import Folders, Identity, identities

_log = logging.getLogger("flowd.watching")

DEBOUNCE_MS = 100
"""The longest that a stream of changes delays a look."""

STEP_MS = 20
"""A look follows a change after this long without another. The thread wakes this often: 0.4 % of a core."""

POLL_INTERVAL_S = 1.0
REWATCH_INTERVAL_S = 30.0

_MODIFIED = 2


class Watcher:
    """Calls ``look`` after every change in the folders, from its thread.

    Where the system cannot watch (inotify is exhausted, say), it looks every second instead, says so once, and tries
    again from time to time.

    Args:
        look: Scans, and tells whether anything had changed. What it raises is logged.
        folders: What is to be watched, as of the last look.
        rescan_interval_s: Seconds between looks that nothing asks for.
    """

    def __init__(
        self,
        look: Callable[[], bool],
        folders: Callable[[], Folders],
        *,
        rescan_interval_s: float = 10.0,
        rewatch_interval_s: float = REWATCH_INTERVAL_S,
    ) -> None:
        self._scan = look
        self._folders = folders
        self._rescan_interval_s = rescan_interval_s
        self._rewatch_interval_s = rewatch_interval_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="flowd-catalog", daemon=True)
        self._is_degraded = False

    @property
    def is_degraded(self) -> bool:
        """Whether the system could not watch just now."""
        return self._is_degraded

    def start(self) -> None:
        """Begin to watch. Returns at once; a change before the watch stands is seen as soon as it does."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread and wait for it: 20 ms, or the rest of a look. May be called twice, or before `start`."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._watch()
            except Exception as error:  # noqa: BLE001 - OSError, or the library's own: without a watch there is polling
                if not self._is_degraded:
                    _log.warning("catalog_watch_failed", extra={"error": str(error), "poll_s": POLL_INTERVAL_S})
                self._is_degraded = True
                self._poll()

    def _poll(self) -> None:
        until = time.monotonic() + self._rewatch_interval_s
        while time.monotonic() < until and not self._stop.wait(min(POLL_INTERVAL_S, self._rewatch_interval_s)):
            self._look()

    def _watch(self) -> None:
        notify, standing = self._stand()
        try:
            if self._is_degraded:
                _log.info("catalog_watch_restored")
            self._is_degraded = False
            self._look()
            is_suspect = False
            while not self._stop.is_set():
                if is_suspect or not _covers(standing, identities(self._folders())):
                    # The new watch before the end of the old one, and a look after it: no gap for a change to fall in.
                    old = notify
                    notify, standing = self._stand()
                    old.close()
                    self._look()
                    is_suspect = False
                    continue
                is_suspect = self._wait(notify, standing)
        finally:
            notify.close()

    def _wait(self, notify: RustNotify, standing: Mapping[str, Identity]) -> bool:
        """Wait for reports, or for the next look without one. True when the watch has proved not to be sound."""
        interval_s = self._rescan_interval_s if standing else min(POLL_INTERVAL_S, self._rescan_interval_s)
        reports = notify.watch(DEBOUNCE_MS, STEP_MS, max(STEP_MS, int(interval_s * 1000)), self._stop)
        if reports == "timeout":
            # A change that no report announced: some folder's watch is deaf.
            return self._look()
        if isinstance(reports, str):
            return False
        folders = self._folders()
        if _matters(folders, (path for _, path in reports)):
            self._look()
        # A watched folder that came or went: its watch may hang on the old one, whose number the new one may have got.
        return any(kind != _MODIFIED and path in standing for kind, path in reports)

    def _stand(self) -> tuple[RustNotify, Mapping[str, Identity]]:
        """A new watch on the folders that exist. A folder may vanish in between, so it tries a few times."""
        tries = 5
        while True:
            standing = identities(self._folders())
            try:
                return RustNotify(list(standing), False, False, 300, False, False), standing  # noqa: FBT003
            except (FileNotFoundError, PermissionError):
                tries -= 1
                if not tries:
                    raise
                self._look()

    def _look(self) -> bool:
        try:
            return self._scan()
        except Exception:  # noqa: BLE001 - the watcher outlives whatever one look ran into
            _log.exception("catalog_scan_failed")
            return False


def _covers(standing: Mapping[str, Identity], needed: Mapping[str, Identity]) -> bool:
    return all(standing.get(folder) == identity for folder, identity in needed.items())


def _matters(folders: Folders, paths: Iterable[str]) -> bool:
    """Whether one of the paths is, or may be, something that the catalog is made of."""
    for path in paths:
        folder, name = os.path.split(path)
        names = folders.get(folder)
        if path in folders or names is None or name in names:
            return True
    return False
