"""Pages that stay open: they follow what happens, and outlive the daemon and the session."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from browser_rig import Visits, run_row, sign_in
from daemon_rig import say, until, workspace
from http_rig import HttpPlace
from playwright.sync_api import expect

GONE = (
    *("ERR_CONNECTION_REFUSED", "ERR_CONNECTION_RESET", "ERR_EMPTY_RESPONSE", "ERR_SOCKET_NOT_CONNECTED"),
    *("ERR_INCOMPLETE_CHUNKED_ENCODING", "ERR_CONTENT_LENGTH_MISMATCH"),
)
"""What a browser says of a server that is away."""


WAITS = 'while [ ! -e "go-$CODEX_FLOW_EVENT_ID" ]; do sleep 0.05; done'


@contextmanager
def daemon() -> Iterator[HttpPlace]:
    with workspace() as place:
        place.flow("hello", f"echo hello; {WAITS}; echo bye; {say('completed')}")
        place.flow("order", f"{WAITS}; {say('completed', next=[{'type': 'quick.go'}])}")
        place.flow("ask", say("needs_intervention", message="Shall I?"))
        place.flow("quick", say("completed", message="that was quick"))
        yield HttpPlace(place).start()


@pytest.fixture(scope="module")
def web() -> Iterator[HttpPlace]:
    """A daemon that goes on as it is."""
    with daemon() as it:
        yield it


@pytest.fixture
def own() -> Iterator[HttpPlace]:
    """A daemon that a test may end."""
    with daemon() as it:
        yield it


def dispatch(web: HttpPlace, name: str, type_: str) -> str:
    with web.place.client() as client:
        return client.dispatch_event({"id": name, "type": type_}).runs[0].id


def let_go(web: HttpPlace, name: str, flow: str = "hello") -> None:
    (web.place.path / "flows" / flow / f"go-{name}").touch()


def test_now_shows_a_run_while_it_runs_and_no_longer(web: HttpPlace, visit: Visits) -> None:
    page = visit(web.url).open("/ui/")
    running = page.get_by_role("region", name="Running")
    run_id = dispatch(web, "seen", "hello.go")
    expect(running.locator(f"[id='r-{run_id}']")).to_be_visible()
    let_go(web, "seen")
    expect(running.locator(f"[id='r-{run_id}']")).to_have_count(0)


def test_a_runs_output_comes_while_it_prints(web: HttpPlace, visit: Visits) -> None:
    run_id = dispatch(web, "printing", "hello.go")
    page = visit(web.url).open(f"/ui/runs/{run_id}")
    output = page.get_by_role("log", name="stdout")
    expect(output).to_contain_text("hello")
    assert "bye" not in output.inner_text()
    size = page.locator("#stdout [data-size]")
    expect(size).to_have_text("6 bytes")
    let_go(web, "printing")
    expect(output).to_contain_text("bye")
    expect(page.locator("main")).to_contain_text("completed")
    expect(size).not_to_have_text("6 bytes")


def test_now_tells_when_the_last_ones_ended(web: HttpPlace, visit: Visits) -> None:
    run_id = dispatch(web, "ended", "hello.go")
    let_go(web, "ended")
    with web.place.client() as client:
        ended = client.wait_run(run_id).completed_at
    assert ended is not None
    page = visit(web.url).open("/ui/")
    at = page.get_by_role("region", name="Ended last").locator(f"[id='r-{run_id}'] .at time")
    expect(at).to_have_attribute("datetime", f"{ended:%FT%T}.{ended.microsecond // 1000:03}Z")


def test_output_that_begins_later_can_be_downloaded_then(web: HttpPlace, visit: Visits) -> None:
    run_id = dispatch(web, "late", "order.go")
    page = visit(web.url).open(f"/ui/runs/{run_id}")
    download = page.locator("#stdout").get_by_role("link", name="Download")
    expect(download).to_be_hidden()
    let_go(web, "late", "order")
    expect(download).to_be_visible()


def test_an_events_graph_grows_with_what_its_runs_cause(web: HttpPlace, visit: Visits) -> None:
    dispatch(web, "order", "order.go")
    page = visit(web.url).open("/ui/events/order")
    graph = page.get_by_role("region", name="Graph of the event")
    expect(graph).to_contain_text("running")
    assert "quick.go" not in graph.inner_text()
    let_go(web, "order", "order")
    expect(graph).to_contain_text("quick.go")
    expect(graph).not_to_contain_text("running")
    expect(page.get_by_role("region", name="Timeline")).to_contain_text("quick")


def test_a_page_outlives_its_daemon_and_catches_up(own: HttpPlace, visit: Visits) -> None:
    somebody = visit(own.url)
    page = somebody.open("/ui/runs")
    own.place.kill()
    bar = page.locator("#connection")
    expect(bar).to_be_visible()
    own.start(FLOWD_HTTP=f"127.0.0.1:{own.port}")
    run_id = dispatch(own, "meanwhile", "quick.go")
    expect(run_row(page, run_id)).to_be_visible()
    expect(bar).to_be_hidden()
    somebody.expect_faults(*GONE)


def test_who_types_is_not_disturbed(web: HttpPlace, visit: Visits) -> None:
    """Even in the very part of the page that changes."""
    first = dispatch(web, "first", "ask.go")
    page = visit(web.url).open("/ui/")
    answer = page.locator(f"[id='q-{first}']").get_by_role("textbox")
    answer.press_sequentially("half a wo")
    answer.press("ArrowLeft")
    second = dispatch(web, "second", "ask.go")
    expect(page.locator(f"[id='q-{second}']")).to_be_visible()
    expect(answer).to_be_focused()
    page.keyboard.type("r")
    expect(answer).to_have_value("half a wro")


def test_a_session_ends_with_its_token_and_the_page_leads_back(own: HttpPlace, visit: Visits) -> None:
    own.place.stop()
    own.start(FLOWD_HTTP_OPEN="0")
    somebody = visit(own.url)
    page = sign_in(somebody, own, "/ui/runs?flow=quick")
    expect(page).to_have_url(f"{own.url}/ui/runs?flow=quick")
    own.place.stop()
    own.start(FLOWD_HTTP=f"127.0.0.1:{own.port}", FLOWD_HTTP_OPEN="0")
    run_id = dispatch(own, "one", "quick.go")  # the same token, so the session outlives the restart
    expect(run_row(page, run_id)).to_be_visible()
    other = "another-token-of-its-owner-0123456789"
    (own.place.path / ".codex" / "flowd" / "http-token").write_text(f"{other}\n")
    until(lambda: own.get("/runs", authorization=f"Bearer {other}").status == 200, what="the other token")
    dispatch(own, "two", "quick.go")
    link = page.get_by_role("link", name="Sign in")
    expect(link).to_be_visible()
    link.click()
    expect(page.get_by_label("Token")).to_be_visible()
    somebody.expect_faults(*GONE, "401")


HIDE = """({ hidden }) => {
    Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
}"""
"""As when somebody looks at another tab; without a window, Chromium takes all of them for seen."""


def test_tabs_that_nobody_sees_keep_no_connection_and_catch_up(own: HttpPlace, visit: Visits) -> None:
    somebody = visit(own.url)
    tabs = [somebody.page, *(somebody.context.new_page() for _ in range(6))]  # a browser has six connections to a host
    for tab in tabs:
        tab.goto(f"{own.url}/ui/runs")
        until(lambda: streams(own) == 1, what="the page's stream")
        tab.evaluate(HIDE, {"hidden": True})
        until(lambda: streams(own) == 0, what="the end of the hidden page's stream")
    run_id = dispatch(own, "meanwhile", "quick.go")
    expect(run_row(tabs[0], run_id)).to_have_count(0)
    tabs[0].evaluate(HIDE, {"hidden": False})
    expect(run_row(tabs[0], run_id)).to_be_visible()


def streams(web: HttpPlace) -> int:
    told = web.get("/metrics").body.decode()
    return int(float(re.findall(r"^flowd_http_streams (\S+)", told, re.MULTILINE)[0]))
