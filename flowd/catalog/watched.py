"""The daemon's catalog: a snapshot in memory that follows the disk."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from flowd.catalog.scan import Scanner
from flowd.domain.finding import Finding
from flowd.domain.flow import Snapshot
from flowd.domain.tallies import CatalogTallies
from flowd.watching.folders import Folders
from flowd.watching.watcher import Watcher

_log = logging.getLogger("flowd.catalog")

OnChange = Callable[[Snapshot, Snapshot], object]
"""Told the old and the new snapshot, in the event loop, after the swap."""


class WatchedCatalog:
    """Flow packages in force, as `flowd.ports.Catalog`. A saved change is in force about 50 ms later.

    Readers get one immutable snapshot and never wait. It is swapped whole, in the event loop, and only when something
    in it has changed.

    Args:
        workspace: Where ``.codex/flows`` and ``flows`` lie.
        rescan_interval_s: Seconds between looks at the disk that nothing asks for.
        on_change: Called after each swap but the first. What it raises is logged.
        watching: False looks at the disk in `open` and `reload` only.
        is_vouched: See `flowd.catalog.scan.Scanner`, likewise ``has_tasks``.
    """

    def __init__(
        self,
        workspace: Path,
        *,
        rescan_interval_s: float = 10.0,
        on_change: OnChange | None = None,
        watching: bool = True,
        is_vouched: bool = False,
        has_tasks: bool = False,
    ) -> None:
        self._scanner = Scanner(workspace, is_vouched=is_vouched, has_tasks=has_tasks)
        self._rescan_interval_s = rescan_interval_s
        self._on_change = on_change
        self._watching = watching
        # The watcher's thread and `reload` both scan; the scanner is for one at a time.
        self._scanning = threading.Lock()
        self._scanned = Snapshot()
        self._snapshot = Snapshot()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watcher: Watcher | None = None
        self.tallies = CatalogTallies()

    @property
    def snapshot(self) -> Snapshot:
        """The catalog now. Never touches the disk."""
        return self._snapshot

    async def open(self) -> None:
        """Read the packages, then begin to watch them. The snapshot is complete when this returns."""
        await asyncio.to_thread(self._scan)
        self._snapshot = self._scanned
        _report(Snapshot(), self._snapshot)
        self._loop = asyncio.get_running_loop()
        if self._watching:
            self._watcher = Watcher(self._look, self._folders, rescan_interval_s=self._rescan_interval_s)
            self._watcher.start()

    @property
    def is_watched(self) -> bool:
        """Whether the system tells of changes; else they are looked for every second, or not at all."""
        return self._watcher is not None and not self._watcher.is_degraded

    async def reload(self) -> Snapshot:
        """Look at the disk now and return the snapshot that came of it. Cancelling it loses no change it found."""
        await asyncio.to_thread(self._look)
        return self._snapshot

    async def close(self) -> None:
        """Stop watching. The last snapshot stays. May be called twice."""
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            await asyncio.to_thread(watcher.stop)

    def _look(self) -> bool:
        with self._scanning:
            if not self._scan():
                return False
            # Posted under the lock, so that swaps come in the order of scans; and before `reload` is told, so that
            # it finds its own.
            assert self._loop is not None
            try:
                self._loop.call_soon_threadsafe(self._swap, self._scanned)
            except RuntimeError:  # the loop has ended, and with it everyone who could ask for the snapshot
                return False
            return True

    def _folders(self) -> Folders:
        with self._scanning:
            return self._scanner.folders()

    def _scan(self) -> bool:
        began_s = time.perf_counter()
        scanned = self._scanner.scan()
        self.tallies.look_s.add(time.perf_counter() - began_s)
        if scanned == self._scanned:
            return False
        self._scanned = scanned
        self.tallies.changes += 1
        return True

    def _swap(self, snapshot: Snapshot) -> None:
        old, self._snapshot = self._snapshot, snapshot
        _report(old, snapshot)
        if self._on_change is not None:
            try:
                self._on_change(old, snapshot)
            except Exception:  # noqa: BLE001 - a listener's fault must not stop the catalog
                _log.exception("catalog_listener_failed")


def _report(old: Snapshot, new: Snapshot) -> None:
    _log.info("catalog_changed", extra={"flows": len(new.flows), "broken": len(new.broken)})
    known = set(old.broken)
    for package in new.broken:
        if package not in known:
            for error in package.errors():
                fields = {"flow": package.name, "stale": package.stale, "error": error.text()}
                _log.warning("package_broken", extra={**fields, **_place(error)})
    doubted = {finding for flow in old.flows for finding in flow.findings}
    for flow in new.flows:
        for finding in flow.findings:
            if finding not in doubted and not flow.stale:
                _log.info("package_doubtful", extra={"flow": flow.name, "doubt": finding.text(), **_place(finding)})


def _place(finding: Finding) -> dict[str, object]:
    place = {"file": finding.file, "line": finding.line, "column": finding.column}
    return {**place, "remedy": finding.remedy, "code": finding.code}
