"""Lists on the command line whose pages the daemon may end early."""

from typing import Any

import pytest

from flowd.cli.exits import CommandError
from flowd.cli.filters import Filters, whole_list
from flowd_client import requests


class Pages:
    """A session whose daemon gives these pages, one after another."""

    def __init__(self, *pages: dict[str, Any]) -> None:
        self._pages = list(pages)
        self.asked: list[tuple[int, str | None]] = []

    def ask(self, request: requests.Request[Any]) -> dict[str, Any]:
        self.asked.append((request.params["limit"], request.params.get("cursor")))
        return self._pages.pop(0)


def listed(pages: Pages, filters: Filters, limit: int | None = None) -> Any:
    def request(count: int, cursor: str | None) -> requests.Request[Any]:
        return requests.list_runs(limit=count, cursor=cursor, **filters._asdict())

    return whole_list(pages, "runs", filters, request, limit=limit, cursor="r9")  # type: ignore[arg-type]


RARE = Filters(text="rare")


def test_short_and_empty_pages_are_put_together_until_there_are_as_many_as_were_asked_for() -> None:
    pages = Pages(
        {"runs": [], "nextCursor": "r7"}, {"runs": [1, 2], "nextCursor": "r5"}, {"runs": [3], "nextCursor": "r3"}
    )
    assert listed(pages, RARE, limit=3) == {"runs": [1, 2, 3], "nextCursor": "r3"}
    assert pages.asked == [(3, "r9"), (3, "r7"), (1, "r5")]


def test_the_last_page_ends_it() -> None:
    pages = Pages({"runs": [1], "nextCursor": "r7"}, {"runs": []})
    assert listed(pages, RARE) == {"runs": [1]}
    assert pages.asked == [(50, "r9"), (49, "r7")]


def test_a_list_without_filters_is_one_page() -> None:
    assert listed(Pages({"runs": [1], "nextCursor": "r7"}), Filters()) == {"runs": [1], "nextCursor": "r7"}


def test_filters_are_typed_again_for_the_next_page() -> None:
    filters = Filters(flow="f", since="2h", labels={"repo": "a", "env": "b c"})
    given = {name: value for name, value in filters.typed().items() if value is not None}
    assert given == {"flow": "f", "since": "2h", "label": ["repo=a", "env=b c"]}


def test_what_nobody_looks_at_while_following_is_refused() -> None:
    Filters(flow="f").refuse("since", "text")
    with pytest.raises(CommandError, match="--text is for lists"):
        RARE.refuse("since", "text")
