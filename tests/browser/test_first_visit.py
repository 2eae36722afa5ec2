"""How somebody gets to the page: by the link of `flowd ui`, by one that a colleague has sent, and over a thin line."""

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from browser_rig import Visitor, Visits, run_row, sign_in
from daemon_rig import Workspace, flowd_says, say, workspace
from http_rig import HttpPlace, elsewhere
from playwright.sync_api import Request, expect

MOST_BYTES = 60_000
"""Of a first visit, over the wire: all that the page is made of."""


@pytest.fixture
def place() -> Iterator[Workspace]:
    with workspace() as it:
        it.flow("quick", say("completed", message="that was quick"))
        yield it


def test_the_link_of_flowd_ui_signs_in_once_where_http_is_off(place: Workspace, visit: Visits) -> None:
    place.start()
    said = flowd_says(place, "ui", "--print")
    link = re.search(r"http://127\.0\.0\.1:\d+\S*", said)
    assert link is not None, said
    assert "flowd serve --http" in said  # how to keep it on
    home, _, path = link[0].partition("/ui/")
    page = visit(home).open(f"/ui/{path}")
    expect(page.get_by_role("heading", name="Running")).to_be_visible()
    assert "key=" not in page.url
    stranger = visit(home)
    stranger.open(f"/ui/{path}")
    expect(stranger.page.get_by_role("alert")).to_contain_text("flowd ui")
    stranger.expect_faults("401")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Token")).to_be_visible()


def test_who_came_by_the_link_is_recorded_by_name(place: Workspace, visit: Visits) -> None:
    web = HttpPlace(place).start(FLOWD_HTTP_OPEN="0")
    link = json.loads(flowd_says(place, "ui", "--json"))["url"]
    page = visit(web.url).open(link.removeprefix(web.url))
    page.goto(f"{web.url}/ui/flows/quick")
    page.get_by_role("button", name="Pause", exact=True).first.click()
    page.get_by_role("dialog").get_by_role("button", name="Yes").click()
    expect(page.locator("main")).to_contain_text("paused by")
    with place.client() as client:
        assert client.queue().raw["pauses"][0]["by"]["via"] == "socket"


def test_a_link_on_another_site_leads_to_the_page(place: Workspace, visit: Visits, tmp_path: Path) -> None:
    web = HttpPlace(place).start(FLOWD_HTTP_OPEN="0")
    with place.client() as client:
        run_id = client.dispatch_event({"id": "one", "type": "quick.go"}, wait=True).runs[0].id
    somebody = visit(web.url)
    page = sign_in(somebody, web)
    (tmp_path / "chat.html").write_text(f"<!doctype html><a href='{web.url}/ui/runs?flow=quick'>look at this</a>")
    with elsewhere(tmp_path) as port:
        page.goto(f"http://localhost:{port}/chat.html")
        page.get_by_role("link", name="look at this").click()
        expect(run_row(page, run_id)).to_be_visible()
    somebody.expect_faults("foreign: http://localhost", "favicon", "404")


def test_a_token_that_may_only_read_is_offered_nothing_else(place: Workspace, visit: Visits) -> None:
    place.flow("ask", say("needs_intervention", message="Shall I?"))
    web = HttpPlace(place)
    digest = hashlib.sha256(b"a-token-to-look").hexdigest()
    web.configure(f'[http.tokens.dashboard]\nsha256 = "{digest}"\nscopes = ["read"]\n')
    web.start(FLOWD_HTTP_OPEN="0")
    with place.client() as client:
        run_id = client.dispatch_event({"id": "ask", "type": "ask.go"}, wait=True).runs[0].id
    somebody = visit(web.url)
    page = somebody.open("/ui/")
    page.get_by_label("Token").fill("a-token-to-look")
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("main")).to_contain_text("Shall I?")
    for path in ("/ui/", f"/ui/runs/{run_id}", "/ui/events/ask", "/ui/flows/ask"):
        page.goto(web.url + path)
        expect(page.locator("main form[method=post]")).to_have_count(0)
    sent = """path => fetch(path, {method: "POST", body: new URLSearchParams({sure: "1"})})
      .then(response => response.status)"""
    assert page.evaluate(sent, f"/ui/runs/{run_id}/approve") == 403
    with place.client() as client:
        assert client.get_run(run_id).needs_attention
    somebody.expect_faults("401", "403")


def test_a_first_visit_is_small(place: Workspace, visit: Visits) -> None:
    web = HttpPlace(place).start()
    with place.client() as client:
        for number in range(120):
            run = client.dispatch_event({"id": f"event-{number}", "type": "quick.go"}).runs[0]
        client.wait_run(run.id)
    for path in ("/ui/", "/ui/runs", f"/ui/runs/{run.id}", "/ui/events/event-1", "/ui/flows/quick"):
        loaded = loaded_bytes(visit(web.url), path)
        assert 1000 < loaded <= MOST_BYTES, path


def loaded_bytes(newcomer: Visitor, path: str) -> int:
    """What comes over the wire for a page and all that it is made of."""
    finished: list[Request] = []

    def note(request: Request) -> None:
        finished.append(request)

    newcomer.page.on("requestfinished", note)
    with newcomer.page.expect_event("requestfinished", lambda request: urlsplit(request.url).path == path):
        expect(newcomer.open(path).get_by_role("heading", level=1)).to_have_count(1)
    newcomer.page.remove_listener("requestfinished", note)
    sizes = [request.sizes() for request in finished]
    return sum(size["responseBodySize"] + size["responseHeadersSize"] for size in sizes)
