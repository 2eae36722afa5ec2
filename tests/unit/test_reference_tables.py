"""The documentation's tables say what the code does."""

from pathlib import Path

import pytest

from docs import reference
from flowd_client import methods, wire


@pytest.mark.parametrize("page", reference.PAGES, ids=lambda page: page.name)
def test_the_tables_of_a_page_are_current(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert reference.current(text) == text, "run `make docs`"


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
