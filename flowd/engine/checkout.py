"""Tells the hosts that share the store what the checkout of this one has."""

import asyncio
import logging
import time
from collections.abc import Callable

from flowd.domain.errors import RefusedError
from flowd.domain.flow import Snapshot
from flowd.ports import Catalog, PackageHashes
from flowd.ports.hosts import Hosts

log = logging.getLogger("flowd.engine")

_AGAIN_AFTER_S = 1.0
_LOOK_EVERY_S = 30.0
"""A file that no step names changes its package, and tells nobody."""
_SHARE = 20
"""Between two looks at very many packages, as many times as long as one of them takes, and no longer than this."""
_AT_MOST_S = 600.0


class Checkout:
    """The commit of this host's workspace, and its packages by their contents, as the store has them."""

    def __init__(
        self, *, hosts: Hosts, catalog: Catalog, packages: PackageHashes, commit: Callable[[], str | None]
    ) -> None:
        """``commit`` reads which one the workspace is at; None where there is none."""
        self._hosts = hosts
        self._catalog = catalog
        self._packages = packages
        self._commit = commit
        self._news = asyncio.Event()
        self._told: tuple[str | None, dict[str, str]] | None = None

    def changed(self, _: Snapshot) -> None:
        """Another snapshot of the catalog is in force."""
        self._news.set()

    async def work(self) -> None:
        """Tell it at the beginning, and whenever it is different, however long the store is away. Without end."""
        while True:
            self._news.clear()
            began_s = time.monotonic()
            wait_s = _LOOK_EVERY_S
            try:
                await self._tell()
                wait_s = min(_AT_MOST_S, max(wait_s, _SHARE * (time.monotonic() - began_s)))
            except RefusedError:
                wait_s = _AGAIN_AFTER_S
            except Exception:
                log.exception("what the checkout has could not be told")
            try:
                async with asyncio.timeout(wait_s):
                    await self._news.wait()
            except TimeoutError:
                pass

    async def _tell(self) -> None:
        commit = await asyncio.to_thread(self._commit)
        hashes: dict[str, str] = {}
        for flow in self._catalog.snapshot.flows:
            found = await self._packages.whole(flow.root, [step.script for step in flow.steps])
            if found is not None:
                hashes[flow.name] = found
        if (commit, hashes) != self._told:
            await self._hosts.note_packages(commit, hashes)
            self._told = commit, hashes
