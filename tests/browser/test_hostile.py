"""Names, payloads and output that mean harm: all of it is shown, and none of it is taken for markup."""

import re
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from browser_rig import PHONE, Visits, wider_than_its_window
from daemon_rig import workspace
from http_rig import HttpPlace
from page_rig import HOSTILE_TEXT, LONG_LINE_BYTES, LONG_LINE_SCRIPT, hostile_event, hostile_flow
from playwright.sync_api import Page

CONTROLS = re.compile("[\x01-\x08\x0e-\x1f\x7f-\x9f\u202a-\u202e]")

LOADED_AT_ONCE_BYTES = 1_000_000
"""What a page may load of an output that nobody has asked for whole."""


@pytest.fixture(scope="module")
def web() -> Iterator[HttpPlace]:
    with workspace() as place:
        hostile_flow(place)
        place.flow("long", LONG_LINE_SCRIPT)
        web = HttpPlace(place).start()
        with place.client() as client:
            client.dispatch_event(hostile_event(), wait=True)
            client.dispatch_event({"id": "long", "type": "long.go"}, wait=True)
        yield web


def run_of(web: HttpPlace, flow: str) -> str:
    return str(web.get(f"/runs?flow={flow}").json["runs"][0]["id"])


def assert_harmless(page: Page) -> None:
    """Nothing of what is shown became an element, a title, or a link that runs something."""
    assert "taken" not in page.title() or HOSTILE_TEXT[:9] in page.title()
    assert page.locator("img, iframe, object, embed").count() == 0
    assert page.locator("script").count() == page.locator("script[src]").count()
    assert page.locator("[href^='javascript']").count() == 0
    assert not CONTROLS.search(page.locator("main").inner_text())
    assert wider_than_its_window(page) == 0


@pytest.mark.parametrize("where", ["now", "runs", "run", "event", "flows", "flow", "search"])
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
        "flow": "/ui/flows/hostile",
        "search": f"/ui/runs?text={quote(HOSTILE_TEXT)}",
    }
    page = somebody.open(paths[where])
    if where != "search":
        assert HOSTILE_TEXT[:40] in page.locator("main").inner_text()
    assert_harmless(page)
    assert dialogs == []


def test_output_keeps_its_colours_and_loses_its_commands(web: HttpPlace, visit: Visits) -> None:
    page = visit(web.url).open(f"/ui/runs/{run_of(web, 'hostile')}")
    output = page.get_by_role("log", name="stdout")
    text = output.inner_text()
    assert HOSTILE_TEXT in text
    assert "red and plain again" in text
    assert "a link" in text
    assert "\x1b" not in text
    assert "\u202e" not in text
    red, plain = page.get_by_text("red", exact=True), page.get_by_text("and plain again")
    assert colour(red) != colour(plain)


def colour(of: object) -> str:
    return str(of.first.evaluate("element => getComputedStyle(element).color"))  # type: ignore[attr-defined]


def test_ten_megabytes_on_one_line_are_shown_in_part_and_can_be_had_whole(web: HttpPlace, visit: Visits) -> None:
    somebody = visit(web.url)
    loaded: list[int] = []
    somebody.page.on("requestfinished", lambda request: loaded.append(request.sizes()["responseBodySize"]))
    page = somebody.open(f"/ui/runs/{run_of(web, 'long')}")
    assert "the end" in page.get_by_role("log", name="stdout").inner_text()
    assert sum(loaded) < LOADED_AT_ONCE_BYTES
    assert wider_than_its_window(page) == 0
    with page.expect_download() as downloaded:
        page.get_by_role("link", name="Download").first.click()
    assert downloaded.value.path().stat().st_size > LONG_LINE_BYTES


def test_long_names_fit_a_phone(web: HttpPlace, visit: Visits) -> None:
    long = "L" * 900
    with web.place.client() as client:
        run_id = client.dispatch_event({"id": long, "type": "hostile.go", "source": long}, wait=True).runs[0].id
    somebody = visit(web.url, size=PHONE)
    wide = {}
    for path in ("/ui/", "/ui/runs", f"/ui/runs/{run_id}", f"/ui/events/{long}?explain=1", f"/ui/dispatch?like={long}"):
        wide[path[:20]] = wider_than_its_window(somebody.open(path))
    assert set(wide.values()) == {0}, wide
