"""Watches folders from a thread of its own, and tells that something may have changed. Who asked for it finds what.

Reports of the operating system are only hints here: a watch on a folder that was removed and made again is silently
dead, an overflowing queue is not told, and a save by rename comes as almost anything. So every report means "look",
and there is a look now and then without any.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

# The documented low-level interface: only with it can a new watch be made before the old one is dropped.
from watchfiles._rust_notify import RustNotify, WatchfilesRustInternalError

from flowd.watching.folders import Folders, Identity, identities

_log = logging.getLogger("flowd.watching")

DEBOUNCE_MS = 100
"""The longest that a stream of changes delays a look."""

STEP_MS = 20
"""A look follows a change after this long without another. The thread wakes this often: 0.4 % of a core."""

POLL_INTERVAL_S = 1.0
REWATCH_INTERVAL_S = 30.0

MAX_REPORTS = 4_096
"""Of more at once, some may be missing: the system keeps 16,384 at most for who is slow, and says nothing of others."""

_MODIFIED = 2


@dataclass(frozen=True, slots=True)
class Pace:
    """How often to look, in seconds.

    Attributes:
        rescan_s: Between looks that nothing asks for.
        poll_s: Between looks where the system cannot watch.
        unsound_s: After a look for which a watch that ended is to blame.
    """

    rescan_s: float = 10.0
    poll_s: float = POLL_INTERVAL_S
    unsound_s: float = 0.2


class Watcher:
    """Calls ``look`` after every change in the folders, from its thread.

    Where the system cannot watch (inotify is exhausted, say), it looks every second instead, says so once, and tries
    again from time to time.

    Args:
        look: Looks at everything, and tells whether anything had changed. What it raises is logged.
        folders: What is to be watched, as of the last look.
        rescan_interval_s: Seconds between looks that nothing asks for.
        name: Of what is watched, in the log.
        look_at: Looks at these paths, and into those that are folders. Without it, every report makes it `look`.
        identify: What the folders to be watched are known by, where somebody knows without asking the disk.
        pace: How often to look, asked anew each time; instead of ``rescan_interval_s``.
    """

    def __init__(
        self,
        look: Callable[[], bool],
        folders: Callable[[], Folders],
        *,
        rescan_interval_s: float = 10.0,
        rewatch_interval_s: float = REWATCH_INTERVAL_S,
        name: str = "catalog",
        look_at: Callable[[Collection[str]], object] | None = None,
        identify: Callable[[], Mapping[str, Identity]] | None = None,
        pace: Callable[[], Pace] | None = None,
    ) -> None:
        steady = Pace(rescan_interval_s, min(POLL_INTERVAL_S, rewatch_interval_s))
        self._scan = look
        self._scan_at = look_at
        self._folders = folders
        self._identify = identify or (lambda: identities(folders()))
        self._pace = pace or (lambda: steady)
        self._rewatch_interval_s = rewatch_interval_s
        self._name = name
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"flowd-{name}", daemon=True)
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
                    fields = {"error": str(error), "poll_s": self._pace().poll_s}
                    _log.warning(f"{self._name}_watch_failed", extra=fields)
                self._is_degraded = True
                self._poll()

    def _poll(self) -> None:
        until = time.monotonic() + self._rewatch_interval_s
        while time.monotonic() < until and not self._stop.wait(self._pace().poll_s):
            self._look()

    def _watch(self) -> None:
        watch = _Watch(self._stand)
        try:
            if self._is_degraded:
                _log.info(f"{self._name}_watch_restored")
            self._is_degraded = False
            self._look()
            suspects: Collection[str] = ()
            while not self._stop.is_set():
                try:
                    if suspects or not _covers(watch.standing, self._identify()):
                        self._stand_anew(watch, suspects)
                        suspects = ()
                    else:
                        suspects = self._wait(watch)
                except WatchfilesRustInternalError:
                    # A name that is no UTF-8 ends a watch, and with it goes whatever else it had to tell.
                    watch.renew().close()
                    self._look()
                    self._stop.wait(self._pace().unsound_s)
        finally:
            watch.notify.close()

    def _stand_anew(self, watch: "_Watch", suspects: Collection[str]) -> None:
        before = watch.standing
        # The new watch before the end of the old one, and a look after it: no gap for a change to fall in.
        old = watch.renew()
        try:
            if self._scan_at is None:
                self._look()
                return
            new = [folder for folder, identity in watch.standing.items() if before.get(folder) != identity]
            reports = old.watch(STEP_MS, STEP_MS, STEP_MS, self._stop)
            self._look_at([*suspects, *new, *(() if isinstance(reports, str) else (path for _, path in reports))])
        finally:
            old.close()

    def _wait(self, watch: "_Watch") -> Collection[str]:
        """Wait for reports, or for the next look without one. What has proved not to be watched any more."""
        pace = self._pace()
        interval_s = pace.rescan_s if watch.standing else min(pace.poll_s, pace.rescan_s)
        reports = watch.notify.watch(DEBOUNCE_MS, STEP_MS, max(STEP_MS, int(interval_s * 1000)), self._stop)
        if reports == "timeout":
            # A change that no report announced: some folder's watch is deaf.
            return tuple(watch.standing) if self._look() else ()
        if isinstance(reports, str):
            return ()
        paths = {path for _, path in reports}
        if _matters(self._folders(), paths):
            self._look_at(paths)
        # A watched folder that came or went: its watch may hang on the old one, whose number the new one may have got.
        return [path for kind, path in reports if kind != _MODIFIED and path in watch.standing]

    def _stand(self) -> tuple[RustNotify, Mapping[str, Identity]]:
        """A new watch on the folders that exist. A folder may vanish in between, so it tries a few times."""
        tries = 5
        while True:
            standing = self._identify()
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
            _log.exception(f"{self._name}_scan_failed")
            return False

    def _look_at(self, paths: Collection[str]) -> None:
        if self._scan_at is None or len(paths) > MAX_REPORTS:
            self._look()
            return
        try:
            self._scan_at(paths)
        except Exception:  # noqa: BLE001
            _log.exception(f"{self._name}_scan_failed")


class _Watch:
    """The system's watch that stands now, and what it stands on."""

    def __init__(self, stand: Callable[[], tuple[RustNotify, Mapping[str, Identity]]]) -> None:
        self._stand = stand
        self.notify, self.standing = stand()

    def renew(self) -> RustNotify:
        """Let a new one stand, and return the old one, which stands still."""
        old = self.notify
        self.notify, self.standing = self._stand()
        return old


def _covers(standing: Mapping[str, Identity], needed: Mapping[str, Identity]) -> bool:
    return standing is needed or all(standing.get(folder) == identity for folder, identity in needed.items())


def _matters(folders: Folders, paths: Iterable[str]) -> bool:
    """Whether one of the paths is, or may be, something that is looked at."""
    for path in paths:
        folder, name = os.path.split(path)
        names = folders.get(folder)
        if path in folders or names is None or name in names:
            return True
    return False
