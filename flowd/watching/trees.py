"""All watches of a workspace, with one watcher for the folders of all."""

import asyncio
import hashlib
import logging
import os
import stat
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from flowd.domain.watches import MAX_CHANGES_BYTES, Watch, WatchState
from flowd.watching.folders import Folders, Identity
from flowd.watching.one import OneWatch
from flowd.watching.watcher import Pace, Watcher

_log = logging.getLogger("flowd.watching")

_KEPT_S = 86_400.0
"""For as long, what was told is remembered of a watch that is gone: an installer takes a package away and brings it."""

_LEAST_PART = 200
"""Looks at everything that nothing asks for take this part of a processor: 0.5 %."""

_POLLING_PART = 50
"""And where the system cannot watch: 2 %."""


class WatchedTrees:
    """The files of all watches, as `flowd.ports.watches.WatchedFiles`.

    Args:
        state_dir: Of flowd, which nobody hears of.
        folder: In which what was told is remembered; it is made where it is needed.
        host: As what this one shares the store with others; None where it does not.
        nonce: Tells this host's events from those of others.
        instant: The time now, as events have it.
        max_payload_bytes: Of events.
        rescan_interval_s: The least time between looks at everything.
    """

    def __init__(
        self,
        workspace: Path,
        *,
        state_dir: Path,
        folder: Path,
        host: str | None,
        nonce: str,
        instant: Callable[[], str],
        max_payload_bytes: int,
        rescan_interval_s: float = 10.0,
    ) -> None:
        self._workspace = os.path.abspath(workspace)
        self._state_dir = state_dir
        self._folder = folder
        self._host = host
        self._nonce = nonce
        self._instant = instant
        self._max_bytes = min(MAX_CHANGES_BYTES, max_payload_bytes // 2)
        self._rescan_interval_s = rescan_interval_s
        self._own = _own(state_dir)
        self._ones: dict[str, OneWatch] = {}
        self._watcher: Watcher | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._on_news: Callable[[str], None] = lambda _: None
        self._merged: tuple[tuple[int, ...] | None, dict[str, Identity]] = (None, {})
        self._using = asyncio.Lock()
        self._is_closed = False

    def listen(self, on_news: Callable[[str], None]) -> None:
        """See `flowd.ports.watches.WatchedFiles.listen`."""
        self._loop = asyncio.get_running_loop()
        self._on_news = on_news

    async def use(self, watches: Sequence[Watch]) -> None:
        """See `flowd.ports.watches.WatchedFiles.use`."""
        async with self._using:
            if not self._is_closed and watches != [one.watch for one in self._ones.values()]:
                await asyncio.to_thread(self._use, list(watches))

    def _use(self, watches: Sequence[Watch]) -> None:
        self._stop()
        before = self._ones
        kept = {one.watch: one for one in before.values()}
        self._merged = (None, {})
        self._ones = {watch.label: kept.get(watch) or self._one(watch) for watch in watches}
        for one in (*before.values(), *self._ones.values()):
            one.touch()
        self._sweep()
        if self._ones:
            self._watcher = Watcher(
                self._look,
                self._folders,
                name="watches",
                look_at=self._look_at,
                identify=self._identities,
                pace=self._pace,
            )
            self._watcher.start()

    def _one(self, watch: Watch) -> OneWatch:
        return OneWatch(
            watch,
            workspace=self._workspace,
            path=self._folder / _file_name(watch),
            source=f"watch:{watch.label}" + (f"@{self._host}" if self._host else ""),
            nonce=self._nonce,
            instant=self._instant,
            is_own=self._is_own,
            max_bytes=self._max_bytes,
        )

    def _sweep(self) -> None:
        """Remove what is remembered of watches that have been gone for long."""
        used = {_file_name(one.watch) for one in self._ones.values()}
        try:
            with os.scandir(self._folder) as listed:
                old = [it for it in listed if it.name not in used and it.stat(follow_symlinks=False).st_mtime < _old()]
            for entry in old:
                os.unlink(entry.path)
        except FileNotFoundError:
            return
        except OSError:
            _log.warning("watches_not_swept", exc_info=True)

    async def take(self, label: str, *, is_quiet: bool) -> Mapping[str, Any] | None:
        """See `flowd.ports.watches.WatchedFiles.take`."""
        one = self._ones.get(label)
        return None if one is None else await asyncio.to_thread(one.take, is_quiet=is_quiet)

    async def told(self, label: str) -> None:
        """See `flowd.ports.watches.WatchedFiles.told`."""
        one = self._ones.get(label)
        if one is not None:
            await asyncio.to_thread(one.told)

    def has_news(self, label: str) -> bool:
        """See `flowd.ports.watches.WatchedFiles.has_news`."""
        one = self._ones.get(label)
        return one is not None and one.has_news

    def states(self) -> list[WatchState]:
        """See `flowd.ports.watches.WatchedFiles.states`."""
        is_polled = self._watcher is not None and self._watcher.is_degraded
        poll_s = self._pace().poll_s
        return [one.state(is_polled=is_polled, poll_s=poll_s) for one in self._ones.values()]

    async def close(self) -> None:
        """See `flowd.ports.watches.WatchedFiles.close`."""
        self._is_closed = True
        async with self._using:
            await asyncio.to_thread(self._stop)

    def _stop(self) -> None:
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.stop()

    # --- in the watcher's thread -------------------------------------------------------------------------------------

    def _look(self) -> bool:
        self._own = _own(self._state_dir)
        return self._tell([label for label, one in self._ones.items() if one.look()])

    def _look_at(self, paths: Collection[str]) -> bool:
        return self._tell([label for label, one in self._ones.items() if one.look_at(paths)])

    def _tell(self, labels: Sequence[str]) -> bool:
        for label in labels:
            assert self._loop is not None
            try:
                self._loop.call_soon_threadsafe(self._on_news, label)
            except RuntimeError:  # the loop has ended; the next process finds the change
                return False
        return bool(labels)

    def _folders(self) -> Folders:
        return dict.fromkeys(self._identities())

    def _identities(self) -> Mapping[str, Identity]:
        trees = [one.tree for one in self._ones.values()]
        versions = tuple(tree.version for tree in trees)
        if self._merged[0] != versions:
            merged: dict[str, Identity] = {}
            for tree in trees:
                merged.update(tree.standing)
            self._merged = versions, merged
        return self._merged[1]

    def _pace(self) -> Pace:
        look_s = sum(one.tree.look_s for one in self._ones.values())
        poll_s = max(1.0, _POLLING_PART * look_s)
        is_partial = any(one.tree.has_unwatchable for one in self._ones.values())
        rescan_s = poll_s if is_partial else max(self._rescan_interval_s, _LEAST_PART * look_s)
        return Pace(rescan_s, poll_s, max(0.2, 10 * look_s))

    def _is_own(self, identity: Identity) -> bool:
        return identity in self._own


def _own(state_dir: Path) -> frozenset[Identity]:
    """What is flowd's own wherever it lies: the state folder, and the files that the daemon's log goes to."""
    found: set[Identity] = set()
    for path in (state_dir, 1, 2):
        try:
            status = os.stat(path)
        except OSError:
            continue
        if path == state_dir or stat.S_ISREG(status.st_mode):
            found.add((status.st_dev, status.st_ino))
    return frozenset(found)


def _old() -> float:
    return time.time_ns() / 1e9 - _KEPT_S


def _file_name(watch: Watch) -> str:
    return hashlib.sha256(f"{watch.flow}\0{watch.name}".encode()).hexdigest()[:32]
