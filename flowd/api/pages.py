"""Keeps the latest pages of lists until something is written, so that pollers do not have them made again."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable

import msgspec

from flowd.api import json
from flowd.api.shapes import View

MAX_PAGES = 16
MAX_PAGE_BYTES = 1024 * 1024
"""A page of 500 runs is about half of it; larger ones are rare and made anew."""


class Pages:
    """The latest pages as JSON, each for as long as nothing has been committed since."""

    def __init__(self, commits: Callable[[], int]) -> None:
        """``commits()`` grows with each commit, before anybody is told of it."""
        self._commits = commits
        self._pages: OrderedDict[Hashable, tuple[int, msgspec.Raw]] = OrderedDict()

    async def get(self, question: Hashable, make: Callable[[], Awaitable[View]]) -> msgspec.Raw:
        """The page that ``question`` asks for, encoded. What was committed before this call is in it."""
        # Read before the page is made: a commit in between makes the page old, never an old page new.
        commits = self._commits()
        kept = self._pages.get(question)
        if kept is not None and kept[0] == commits:
            self._pages.move_to_end(question)
            return kept[1]
        page = msgspec.Raw(json.encode(await make()))
        if len(page) <= MAX_PAGE_BYTES:
            self._pages[question] = commits, page
            if len(self._pages) > MAX_PAGES:
                self._pages.popitem(last=False)
        return page
