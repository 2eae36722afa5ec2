"""Names, payloads and output that mean harm: all of it is shown, and none of it is taken for markup."""

from collections.abc import Iterator
from urllib.parse import quote

import pytest
from browser_rig import Visits, wider_than_its_window
from daemon_rig import workspace
from http_rig import HttpPlace
from page_rig import HOSTILE_TEXT, hostile_event, hostile_flow
from playwright.sync_api import Page


@pytest.fixture(scope="module")
def web() -> Iterator[HttpPlace]:
    with workspace() as place:
        hostile_flow(place)
        web = HttpPlace(place).start()
        with place.client() as client:
            client.dispatch_event(hostile_event(), wait=True)
        yield web


def run_of(web: HttpPlace, flow: str) -> str:
    return str(web.get(f"/runs?flow={flow}").json["runs"][0]["id"])


def assert_harmless(page: Page) -> None:
    """Nothing of what is shown became an element, a title, or a link that runs something."""
    assert "taken" not in page.title() or HOSTILE_TEXT[:9] in page.title()
    assert page.locator("img, iframe, object, embed").count() == 0
    assert page.locator("script").count() == page.locator("script[src]").count()
    assert page.locator("[href^='javascript']").count() == 0
    assert wider_than_its_window(page) == 0


@pytest.mark.parametrize("where", ["now", "runs", "search"])
def test_names_and_payloads_stay_text(web: HttpPlace, visit: Visits, where: str) -> None:
    somebody = visit(web.url)
    dialogs: list[str] = []
    somebody.page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    paths = {
        "now": "/ui/",
        "runs": "/ui/runs",
        "run": f"/ui/runs/{run_of(web, 'hostile')}",
        "event": f"/ui/events/{quote(str(hostile_event()['id']), safe='')}",
        "flows": "/ui/flows",
        "search": f"/ui/runs?text={quote(HOSTILE_TEXT)}",
    }
    page = somebody.open(paths[where])
    if where in {"now", "runs"}:
        assert HOSTILE_TEXT[:40] in page.locator("main").inner_text()
    assert_harmless(page)
    assert dialogs == []
