"""Ten thousand runs on one page: what is loaded is what is looked at."""

from collections.abc import Iterator

import pytest
from browser_rig import Visits, wider_than_its_window
from daemon_rig import say, workspace
from http_rig import HttpPlace
from page_rig import multiply
from playwright.sync_api import expect

RUNS = 10_000
LOADED_AT_ONCE = 100


@pytest.fixture(scope="module")
def web() -> Iterator[HttpPlace]:
    with workspace() as place:
        place.flow("tick", say("completed", message="ticked"))
        place.flow("tock", say("failed", message="out of step"))
        web = HttpPlace(place).start()
        with place.client() as client:
            client.dispatch_event({"id": "tock", "type": "tock.go"}, wait=True)
            client.dispatch_event({"id": "tick", "type": "tick.go"}, wait=True)
        place.stop()
        multiply(place, RUNS)
        yield web.start()


def test_more_rows_come_as_one_scrolls(web: HttpPlace, visit: Visits) -> None:
    page = visit(web.url).open("/ui/runs")
    rows = page.locator(".run")
    assert rows.count() == LOADED_AT_ONCE
    for times in (2, 3):
        rows.last.scroll_into_view_if_needed()
        expect(rows).to_have_count(times * LOADED_AT_ONCE)
    seen = [row.get_attribute("id") for row in rows.all()]
    assert len(seen) == len(set(seen))  # none of them twice
    assert wider_than_its_window(page) == 0


def test_the_oldest_of_them_is_found_by_a_filter(web: HttpPlace, visit: Visits) -> None:
    page = visit(web.url).open("/ui/runs?flow=tock")
    assert page.locator(".run").count() == 1
    assert "out of step" in page.locator(".run").inner_text()


def test_flows_tell_the_last_results_also_of_one_that_runs_rarely(web: HttpPlace, visit: Visits) -> None:
    page = visit(web.url).open("/ui/flows")
    assert "main failed" in page.get_by_role("row", name="tock").inner_text()
