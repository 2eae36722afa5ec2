"""Makes HTML of templates. Owns `jinja2`.

Whatever comes from outside is text and is escaped: the environment does so by itself, and no template may say otherwise
(``|safe`` is for what another function of this package has made). Control characters in it are shown by their signs.
"""

import asyncio
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jinja2

from flowd.formats.person import person
from flowd.page import words
from flowd.page.assets import Assets
from flowd.page.visit import Visit, segment

_FOLDER = Path(__file__).parent / "templates"

_AT_ONCE_S = 0.002
"""Of the loop for a page; after so long others have their turn."""


class Renderer:
    """Renders pages."""

    def __init__(self, assets: Assets) -> None:
        self._environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(_FOLDER),
            autoescape=True,
            auto_reload=False,
            trim_blocks=True,
            lstrip_blocks=True,
            cache_size=-1,
            finalize=_shown,
        )
        self._environment.filters.update(
            segment=segment,
            when=words.when,
            took=words.took,
            waits=words.waits,
            person=person,
            pretty=words.in_short,
            why=words.why,
            bytes=words.size,
            hash=words.short_hash,
        )
        self._environment.globals.update(assets=assets)
        for name in self._environment.list_templates():
            self._environment.get_template(name)  # compiled now, and not while somebody waits for a page

    async def page(self, template: str, visit: Visit | None, members: Mapping[str, Any], *, base_path: str) -> bytes:
        """A page, or what of it lies between head and foot where the browser has the rest already."""
        is_part = visit is not None and visit.mark is not None
        pieces = self._environment.get_template(template).generate(
            {
                "visit": visit,
                "base": base_path,
                "link": None if visit is None else visit.link,
                "may": (lambda _: False) if visit is None else visit.may,
                "frame": "part.html" if is_part else "frame.html",
                **members,
            }
        )
        return "".join([piece async for piece in _in_turns(pieces)]).encode("utf-8", "replace")


def _shown(value: object) -> object:
    """What stands for a value that is no markup. What a form sends back has to go through ``|e`` as it is."""
    # What is markup is a subclass of str, and has been seen to.
    return words.visible(value) if type(value) is str and not value.isprintable() else value


async def _in_turns(pieces: Iterator[str]) -> Any:
    began_s = time.perf_counter()
    for piece in pieces:
        yield piece
        if time.perf_counter() - began_s > _AT_ONCE_S:
            await asyncio.sleep(0)
            began_s = time.perf_counter()
