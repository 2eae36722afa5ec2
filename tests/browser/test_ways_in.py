"""Without a mouse, without the script, and behind a proxy's path: all of it works."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from browser_rig import Visits, run_row, sign_in
from daemon_rig import say, until, workspace
from http_rig import HttpPlace
from playwright.sync_api import expect


@contextmanager
def asking() -> Iterator[HttpPlace]:
    with workspace() as place:
        place.flow("ask", say("needs_intervention", message="Shall I?"))
        yield HttpPlace(place)


@pytest.fixture(scope="module")
def web() -> Iterator[HttpPlace]:
    """A daemon that lets everybody in."""
    with asking() as it:
        yield it.start()


@pytest.fixture
def own() -> Iterator[HttpPlace]:
    """A daemon that a test starts in its own way."""
    with asking() as it:
        yield it


def asked(web: HttpPlace, name: str) -> str:
    with web.place.client() as client:
        return client.dispatch_event({"id": name, "type": "ask.go"}, wait=True).runs[0].id


def status(web: HttpPlace, run_id: str) -> str:
    with web.place.client() as client:
        return client.get_run(run_id).status


def test_a_question_is_answered_by_keys_alone(web: HttpPlace, visit: Visits) -> None:
    run_id = asked(web, "by keys")
    page = visit(web.url).open("/ui/runs")
    keys = page.keyboard
    keys.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("These keys")
    keys.press("Escape")
    keys.press("j")
    expect(run_row(page, run_id).get_by_role("link").first).to_be_focused()
    keys.press("/")
    expect(page.locator("input:focus")).to_be_visible()
    keys.press("Escape")
    keys.press("g")
    keys.press("n")
    question = page.get_by_role("article", name="ask main asks")
    expect(question).to_be_visible()
    for _ in range(30):
        keys.press("Tab")
        if page.evaluate("document.activeElement.textContent").strip() == "Approve":
            break
    keys.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    keys.press("Enter")
    expect(question).to_be_hidden()
    until(lambda: status(web, run_id) == "completed", what="the approval")


def test_the_first_tab_leads_past_the_navigation(web: HttpPlace, visit: Visits) -> None:
    page = visit(web.url).open("/ui/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()


def test_a_question_that_is_asked_twice_can_be_left_unanswered(web: HttpPlace, visit: Visits) -> None:
    run_id = asked(web, "left")
    page = visit(web.url).open("/ui/")
    page.get_by_role("button", name="Reject").click()
    page.get_by_role("dialog").get_by_role("button", name="No").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert status(web, run_id) == "needs_intervention"
    web.place.call("flow.resolveRun", runId=run_id, status="skipped")  # nobody else is to be asked that


def test_without_the_script_a_page_asks_before_it_acts(own: HttpPlace, visit: Visits) -> None:
    run_id = asked(own.start(FLOWD_HTTP_OPEN="0"), "ask")
    page = sign_in(visit(own.url, script=False), own)
    page.get_by_role("link", name="ask main").first.wait_for()
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_role("button", name="Yes")).to_be_visible()
    assert status(own, run_id) == "needs_intervention"
    page.get_by_role("button", name="Yes").click()
    expect(page).to_have_url(f"{own.url}/ui/")
    until(lambda: status(own, run_id) == "completed", what="the approval")
    page.get_by_role("link", name="Runs", exact=True).click()
    page.get_by_label("Status").select_option("failed")
    page.get_by_role("button", name="Show").click()
    expect(page).to_have_url(re.compile("status=failed"))
    expect(run_row(page, run_id)).to_have_count(0)


def test_behind_a_proxys_path_every_link_leads_there(own: HttpPlace, visit: Visits) -> None:
    own.configure('[http]\nbase_path = "/robots/flowd"\n')
    run_id = asked(own.start(FLOWD_HTTP_OPEN="0"), "ask")
    somebody = visit(f"{own.url}/robots/flowd")
    strays: list[str] = []
    somebody.page.on("request", lambda request: strays.append(request.url))
    page = sign_in(somebody, own)
    page.get_by_role("link", name="Runs", exact=True).click()
    run_row(page, run_id).wait_for()
    page.get_by_role("link", name="Now").click()
    page.get_by_role("button", name="Approve").click()
    page.get_by_role("dialog").get_by_role("button", name="Yes").click()
    until(lambda: status(own, run_id) == "completed", what="the approval")
    assert [url for url in strays if not url.startswith(somebody.home)] == []
    assert {cookie["path"] for cookie in somebody.context.cookies()} == {"/robots/flowd"}
