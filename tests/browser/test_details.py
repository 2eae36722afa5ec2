"""Open pages of one event and one run: what goes on shows in the graph, and in the output of what is tried again."""

from collections.abc import Iterator

import pytest
from browser_rig import Visits
from daemon_rig import say, workspace
from http_rig import HttpPlace
from playwright.sync_api import expect

GONE = (
    *("ERR_CONNECTION_REFUSED", "ERR_CONNECTION_RESET", "ERR_EMPTY_RESPONSE", "ERR_SOCKET_NOT_CONNECTED"),
    *("ERR_INCOMPLETE_CHUNKED_ENCODING", "ERR_CONTENT_LENGTH_MISMATCH"),
)
"""What a browser says of a server that is away."""

SCRIPT = f"""
n=$(cat tries 2>/dev/null || echo 0); n=$((n + 1)); echo $n > tries
i=0; while [ $i -lt 200 ]; do i=$((i + 1)); echo "line $i of try $n"; done
echo "Error: one of try $n"; echo between; echo "Error: two of try $n" >&2
[ $n -gt 1 ] || exit 1
while [ ! -e go ]; do sleep 0.05; done
echo "the end of try $n"
{say("completed")}
"""

HIDE = """({ hidden }) => {
    Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
}"""
"""As when somebody looks at another tab; without a window, Chromium takes all of them for seen."""


@pytest.fixture
def web() -> Iterator[HttpPlace]:
    with workspace() as place:
        place.flow("flaky", SCRIPT)
        yield HttpPlace(place).start()


def test_another_attempts_output_takes_the_place_of_the_last_ones(web: HttpPlace, visit: Visits) -> None:
    with web.place.client() as client:
        run_id = client.dispatch_event({"id": "one", "type": "flaky.go"}, wait=True).runs[0].id
    page = visit(web.url).open(f"/ui/runs/{run_id}")
    named = visit(web.url).open(f"/ui/runs/{run_id}?attempt=1")
    output = page.get_by_role("log", name="stdout")
    expect(output).to_contain_text("line 200 of try 1")
    page.get_by_role("button", name="Retry").click()
    page.get_by_role("dialog").get_by_role("button", name="Yes").click()
    expect(output).to_contain_text("line 200 of try 2")
    expect(output).not_to_contain_text("of try 1")
    (web.place.path / "flows" / "flaky" / "go").touch()
    expect(output).to_contain_text("the end of try 2")
    expect(page.get_by_role("heading", level=1)).to_contain_text("completed")
    expect(named.get_by_role("heading", level=1)).to_contain_text("completed")
    expect(named.get_by_role("log", name="stdout")).to_contain_text("line 200 of try 1")


def test_output_goes_on_after_a_restart_of_the_daemon(web: HttpPlace, visit: Visits) -> None:
    (web.place.path / "flows" / "flaky" / "tries").write_text("1")
    with web.place.client() as client:
        run_id = client.dispatch_event({"id": "one", "type": "flaky.go"}).runs[0].id
    somebody = visit(web.url)
    output = somebody.open(f"/ui/runs/{run_id}").get_by_role("log", name="stdout")
    expect(output).to_contain_text("line 200 of try 2")
    web.place.kill()
    expect(somebody.page.locator("#connection")).to_be_visible()
    web.start(FLOWD_HTTP=f"127.0.0.1:{web.port}")
    (web.place.path / "flows" / "flaky" / "go").touch()
    expect(output).to_contain_text("the end of try 2")
    assert output.inner_text().count("line 200 of try 2") == 1
    expect(somebody.page.get_by_role("heading", level=1)).to_contain_text("completed")
    somebody.expect_faults(*GONE)


def test_output_of_a_tab_that_nobody_sees_waits_until_somebody_does(web: HttpPlace, visit: Visits) -> None:
    (web.place.path / "flows" / "flaky" / "tries").write_text("1")
    with web.place.client() as client:
        run_id = client.dispatch_event({"id": "one", "type": "flaky.go"}).runs[0].id
        page = visit(web.url).open(f"/ui/runs/{run_id}")
        output = page.get_by_role("log", name="stdout")
        expect(output).to_contain_text("line 200 of try 2")
        with page.expect_event("requestfailed", lambda request: "/tail?" in request.url):
            with page.expect_request("**/tail?**"):
                pass  # it asks, and waits for something to be printed
            page.evaluate(HIDE, {"hidden": True})
        (web.place.path / "flows" / "flaky" / "go").touch()
        client.wait_run(run_id)
    expect(output).not_to_contain_text("the end of try 2")
    page.evaluate(HIDE, {"hidden": False})
    expect(output).to_contain_text("the end of try 2")


def test_a_key_leads_from_error_to_error_in_both_streams(web: HttpPlace, visit: Visits) -> None:
    with web.place.client() as client:
        run_id = client.dispatch_event({"id": "one", "type": "flaky.go"}, wait=True).runs[0].id
    page = visit(web.url).open(f"/ui/runs/{run_id}")
    here = page.locator(".hot.here")
    for text in ("one of try 1", "two of try 1", "one of try 1"):
        page.keyboard.press("e")
        expect(here).to_have_text(f"Error: {text}")
        expect(here).to_be_in_viewport()
    page.get_by_role("searchbox").press("e")
    expect(here).to_have_text("Error: one of try 1")


def test_the_graph_of_an_event_shows_how_its_steps_go_on(web: HttpPlace, visit: Visits) -> None:
    (web.place.path / "flows" / "flaky" / "tries").write_text("1")
    with web.place.client() as client:
        client.dispatch_event({"id": "one", "type": "flaky.go"})
    page = visit(web.url).open("/ui/events/one")
    graph = page.get_by_role("region", name="Graph")
    step = graph.get_by_role("link", name="main")
    expect(step).to_have_accessible_name("main · running")
    step.focus()
    (web.place.path / "flows" / "flaky" / "go").touch()
    expect(graph.get_by_role("link", name="completed")).to_be_visible()
    expect(step).to_be_focused()
    expect(page.locator("table.time rect.s-completed")).to_have_count(1)
