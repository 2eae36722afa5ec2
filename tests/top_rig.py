"""Somebody at the screen of ``flowd top``, by Textual's pilot, with a real daemon under it."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

from daemon_rig import Workspace
from textual.pilot import Pilot

from flowd.cli.session import Session
from flowd.screen.app import Overview, TopApp
from flowd.screen.board import Section
from flowd.screen.daemon_link import DaemonLink, to_socket

_BOUND_S = 60.0

HARMFUL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")

Keys = Callable[["Reader"], Awaitable[None]]


class Reader:
    """Somebody at the screen."""

    def __init__(self, app: TopApp, pilot: Pilot[None]) -> None:
        self.app = app
        self.pilot = pilot

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def type(self, text: str) -> None:
        names = {" ": "space", "=": "equals_sign", "{": "left_curly_bracket", "}": "right_curly_bracket"}
        await self.pilot.press(*(names.get(key, key) for key in text))

    async def until(self, condition: Callable[[], Any], what: str) -> Any:
        """The condition's first true value, or a failure after the bound."""
        deadline = asyncio.get_running_loop().time() + _BOUND_S
        while not (value := condition()):
            assert asyncio.get_running_loop().time() < deadline, f"{what} did not come:\n{self.text()}"
            await asyncio.sleep(0.1)
        return value

    async def sees(self, *words: str) -> None:
        """Wait until all of these words are on the screen."""
        await self.until(lambda: all(word in self.text() for word in words), f"{words} on the screen")

    def text(self) -> str:
        """What is on the screen now, as its lines."""
        return "\n".join(
            "".join(segment.text for segment in line) for line in self.app.screen._compositor.render_strips()
        )

    def rows(self, section: Section) -> list[str]:
        """The runs of a section."""
        overview = next(screen for screen in self.app.screen_stack if isinstance(screen, Overview))
        return [row.run.id for row in overview.section_of(section)._rows]

    async def goes_to(self, section: Section, run_id: str) -> None:
        """Put the cursor on a run."""
        await self.until(lambda: run_id in self.rows(section), f"{run_id} in {section}")
        await self.press(str(list(Section).index(section) + 1))
        for _ in range(self.rows(section).index(run_id)):
            await self.press("down")


def read(link: DaemonLink, does: Keys, *, size: tuple[int, int] = (120, 40)) -> None:
    """Open the screen, and let somebody do something with it."""

    async def main() -> None:
        app = TopApp(link)
        async with app.run_test(size=size, notifications=True) as pilot:
            await does(Reader(app, pilot))

    asyncio.run(main())


def by_socket(place: Workspace) -> DaemonLink:
    session = Session()
    session.choose_workspace(str(place.path))
    return to_socket(session)
