"""Packages in a workspace, and a catalog that follows them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from flowd.catalog.watched import WatchedCatalog
from flowd.domain.flow import Snapshot

BOUND_S = 60.0
# Far beyond the bound: what a test sees in time was reported, not found by a look now and then.
NEVER_S = 600.0


def manifest(name: str, addition: str = "") -> str:
    return f'name = "{name}"\nversion = 1\n[[steps]]\nname = "s"\nrunner = "exec"\nscript = "run.sh"\n{addition}'


def write(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "flow.toml").write_text(text)
    return folder


class Following:
    """A catalog under test, with a wait for what its snapshot is to become."""

    def __init__(self, workspace: Path, rescan_interval_s: float = NEVER_S) -> None:
        self.changes = 0
        self._changed = asyncio.Event()
        self.catalog = WatchedCatalog(workspace, rescan_interval_s=rescan_interval_s, on_change=self._note)

    def _note(self, old: Snapshot, new: Snapshot) -> None:
        assert old != new
        self.changes += 1
        self._changed.set()

    @property
    def names(self) -> list[str]:
        return [flow.name for flow in self.catalog.snapshot.flows]

    async def until(self, is_so: Callable[[Snapshot], bool]) -> None:
        async with asyncio.timeout(BOUND_S):
            while not is_so(self.catalog.snapshot):
                self._changed.clear()
                await self._changed.wait()

    async def until_names(self, *names: str) -> None:
        await self.until(lambda snapshot: [flow.name for flow in snapshot.flows] == list(names))


@asynccontextmanager
async def following(workspace: Path, rescan_interval_s: float = NEVER_S) -> AsyncIterator[Following]:
    it = Following(workspace, rescan_interval_s)
    await it.catalog.open()
    try:
        yield it
    finally:
        await it.catalog.close()


def in_loop(workspace: Path, scenario: Callable[[Following], Awaitable[None]]) -> None:
    async def run() -> None:
        async with following(workspace) as it:
            await scenario(it)

    asyncio.run(run())
