"""The documentation's tables say what the code does."""

import re
from importlib.metadata import version
from pathlib import Path

import pytest

from docs import packaging, reference
from docs.reference import ROOT
from flowd.domain.run import Reason
from flowd_client import methods, wire


@pytest.mark.parametrize("page", reference.PAGES, ids=lambda page: page.name)
def test_the_tables_of_a_page_are_current(page: Path) -> None:
    _need_the_click_that_is_locked()
    text = page.read_text(encoding="utf-8")
    assert reference.current(text) == text, "run `make docs`"


def test_every_status_and_reason_is_explained() -> None:
    page = (ROOT / "docs" / "reference" / "runs.md").read_text(encoding="utf-8")
    for word in (*wire.PROCESS_STATUSES, *wire.RESULT_STATUSES, *Reason):
        assert f"`{word}`" in page, word


def test_the_man_page_is_current() -> None:
    _need_the_click_that_is_locked()
    assert packaging.MAN_PAGE.read_text(encoding="utf-8") == packaging.man_page(), "run `make docs`"


def _need_the_click_that_is_locked() -> None:
    """Other versions of it lay help out in other ways."""
    locked = re.search(r"^click==(\S+)", (ROOT / "constraints-dev.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert locked is not None
    if version("click") != locked[1]:
        pytest.skip(f"NOT TESTED: what `make docs` writes, because click is {version('click')} and not {locked[1]}")


def test_a_table_that_lags_behind_is_brought_up_to_date_and_nothing_else_is_touched() -> None:
    text = "before\n<!-- table: errors -->\n| `gone` | 1 | It is no more. |\n<!-- end -->\nafter\n"
    current = reference.current(text)
    assert "gone" not in current
    assert current.startswith("before\n<!-- table: errors -->\n| slug |")
    assert current.endswith("\n<!-- end -->\nafter\n")


def test_every_method_route_and_slug_is_in_a_table() -> None:
    pages = "".join(page.read_text(encoding="utf-8") for page in reference.PAGES)
    for name, method in methods.METHODS.items():
        assert f"| `{name}` |" in pages
        for route in method.routes:
            assert f"| `{route.verb} {route.path}" in pages
    for slug, failure in wire.FAILURES.items():
        assert f"| `{slug}` | {failure.code} | {failure.http_status} |" in pages
    for slug, (status, _) in wire.HTTP_FAILURES.items():
        assert f"| `{slug}` | {status} |" in pages
