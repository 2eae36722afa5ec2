"""What a host tells of its checkout, and when."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, cast

from flowd.domain.flow import Flow, Origin, Snapshot
from flowd.domain.step import Runner, Step
from flowd.engine.checkout import Checkout

STEPS = (Step("one", Runner.EXEC, "a.sh"), Step("two", Runner.EXEC, "b.sh"))


class World:
    """A store, a catalog, the packages on disk and git, all set by hand."""

    def __init__(self) -> None:
        flows = [Flow(name, 1, f"/{name}", Origin.SOURCE, STEPS, "sha256:0") for name in ("photo", "gone")]
        self.snapshot = Snapshot(tuple(flows))
        self.commit = "1" * 40
        self.edits = 0
        self.told: list[tuple[str | None, dict[str, str]]] = []
        self.looks = 0
        self._looked = asyncio.Event()
        anything: Any = self
        self.checkout = Checkout(hosts=anything, catalog=anything, packages=anything, commit=self._head)

    def _head(self) -> str:
        return self.commit

    async def whole(self, root: str, scripts: Sequence[str]) -> str | None:
        if root == "/gone":
            self.looks += 1
            self._looked.set()
            return None
        return f"{root} {' '.join(scripts)} {self.edits}"

    async def note_packages(self, commit: str | None, hashes: Mapping[str, str]) -> None:
        self.told.append((commit, dict(hashes)))

    async def look(self) -> None:
        """Wait until it has looked once more, and has begun to wait again."""
        self._looked.clear()
        self.checkout.changed(cast("Snapshot", None))
        await self._looked.wait()
        await asyncio.sleep(0)


def test_a_host_tells_its_commit_and_packages_at_the_beginning_and_when_they_are_different() -> None:
    async def main() -> None:
        world = World()
        async with asyncio.TaskGroup() as group:
            work = group.create_task(world.checkout.work())
            await world.look()
            await world.look()
            assert world.told == [("1" * 40, {"photo": "/photo a.sh b.sh 0"})]
            world.edits = 1
            await world.look()
            world.commit = "2" * 40
            await world.look()
            work.cancel()
        assert world.told[1:] == [
            ("1" * 40, {"photo": "/photo a.sh b.sh 1"}),
            ("2" * 40, {"photo": "/photo a.sh b.sh 1"}),
        ]

    asyncio.run(main())
