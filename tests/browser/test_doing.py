"""What a person does on the page, besides the story: look into output, replay, dispatch, cancel, pause, fire."""

import json
from collections.abc import Iterator

import pytest
from browser_rig import Visits, run_row
from daemon_rig import say, until, workspace
from http_rig import HttpPlace
from playwright.sync_api import Page, expect

PRINTS = r"""
printf 'step one\n\033[31merror: the first\033[0m\n'
seq 1 2000 | sed 's/^/line /'
echo 'error: the last' && echo FLOW_RESULT '{"status": "failed", "message": "broke twice"}'
"""

CHAIN = """
name = "chain"
version = 1

[[steps]]
name = "first"
runner = "exec"
script = "done.sh"

[steps.trigger]
type = "chain.go"

[[steps]]
name = "second"
runner = "exec"
script = "done.sh"
needs = ["first"]

[[steps]]
name = "third"
runner = "exec"
script = "done.sh"
needs = ["second"]
"""


@pytest.fixture(scope="module")
def web() -> Iterator[HttpPlace]:
    with workspace() as place:
        place.flow("noisy", PRINTS)
        place.flow("slow", f"echo begun; sleep 600; {say('completed')}")
        place.flow("quick", say("completed"))
        place.flow("calm", say("completed"))
        chain = place.flow("chain", say("completed"))
        (chain / "main.sh").rename(chain / "done.sh")
        (chain / "flow.toml").write_text(CHAIN, encoding="utf-8")
        sharing = place.flow("sharing", say("completed"))
        (sharing / "main.sh").rename(sharing / "done.sh")
        (sharing / "flow.toml").write_text(
            CHAIN.replace("chain", "sharing").replace("version = 1", "version = 1\nround_dir = true"), encoding="utf-8"
        )
        yield HttpPlace(place).start()


def dispatch(web: HttpPlace, name: str, type_: str, *, wait: bool = True) -> str:
    with web.place.client() as client:
        return client.dispatch_event({"id": name, "type": type_, "payload": {"n": 1}}, wait=wait).runs[0].id


def press(page: Page, button: str) -> None:
    page.get_by_role("button", name=button, exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name="Yes").click()


def test_an_error_is_found_in_a_long_output(web: HttpPlace, visit: Visits) -> None:
    run_id = dispatch(web, "noisy", "noisy.go")
    page = visit(web.url).open(f"/ui/runs/{run_id}")
    output = page.get_by_role("log", name="stdout")
    assert output.evaluate("pre => pre.scrollTop") > 0  # the end is what one wants to see first
    page.get_by_role("link", name="First error").click()
    expect(output.get_by_text("error: the first")).to_be_in_viewport()
    page.keyboard.press("e")
    assert output.locator(".here").count() == 1
    page.get_by_label("Find in the output").fill("line 777")
    page.keyboard.press("Enter")
    found = page.get_by_role("region", name="Found lines")
    expect(found).to_contain_text("line 777")
    found.get_by_role("link").first.click()
    expect(page.get_by_role("log", name="stdout")).to_contain_text("line 778")


def test_lines_are_wrapped_or_not_as_the_address_says(web: HttpPlace, visit: Visits) -> None:
    run_id = dispatch(web, "noisy", "noisy.go")
    page = visit(web.url).open(f"/ui/runs/{run_id}")
    output = page.get_by_role("log", name="stdout")
    wrapped = output.evaluate("pre => getComputedStyle(pre).whiteSpace")
    page.get_by_role("link", name="Do not wrap").click()
    page.wait_for_url("**wrap=0**")
    assert output.evaluate("pre => getComputedStyle(pre).whiteSpace") != wrapped


def test_what_runs_is_ended(web: HttpPlace, visit: Visits) -> None:
    run_id = dispatch(web, "slow", "slow.go", wait=False)
    page = visit(web.url).open(f"/ui/runs/{run_id}")
    expect(page.get_by_role("log", name="stdout")).to_contain_text("begun")
    press(page, "Cancel")
    expect(page.get_by_role("heading", level=1)).to_contain_text("canceled")


def test_an_event_is_replayed_whole_or_from_a_step(web: HttpPlace, visit: Visits) -> None:
    dispatch(web, "chain", "chain.go")
    page = visit(web.url).open("/ui/events/chain")
    rows = page.get_by_role("region", name="Runs", exact=True).locator(".run")
    expect(rows).to_have_count(3)
    press(page, "Replay all")
    expect(rows).to_have_count(6)
    page.get_by_label("Step", exact=True).select_option("chain/second")
    press(page, "Replay from here")
    expect(rows).to_have_count(8)
    graph = page.get_by_role("region", name="Graph")
    for step in ("first", "second", "third"):
        expect(graph).to_contain_text(step)


def test_who_replays_from_a_step_is_told_that_the_rounds_files_are_not_there(web: HttpPlace, visit: Visits) -> None:
    dispatch(web, "sharing", "sharing.go")
    with web.place.client() as client:
        runs = {run.step_name: run.id for run in client.list_runs(event_id="sharing")}
    told = "what first left in that of round 1 is not in it"
    page = visit(web.url).open(f"/ui/runs/{runs['second']}")
    page.get_by_role("button", name="Replay from here").click()
    expect(page.get_by_role("dialog")).to_contain_text(told)
    page.get_by_role("dialog").get_by_role("button", name="No").click()
    page.goto(page.url.replace(runs["second"], runs["first"]))
    page.get_by_role("button", name="Replay from here").click()
    expect(page.get_by_role("dialog")).to_contain_text("Run first and all that need it")
    expect(page.get_by_role("dialog")).not_to_contain_text("left in that of")


def test_an_event_is_dispatched_again_with_another_payload(web: HttpPlace, visit: Visits) -> None:
    dispatch(web, "first-time", "quick.go")
    somebody = visit(web.url)
    page = somebody.open("/ui/events/first-time")
    page.get_by_role("link", name="Dispatch again, edited").click()
    assert page.get_by_label("Id", exact=True).input_value() != "first-time"
    page.get_by_label("Id", exact=True).fill("second-time")
    text = page.get_by_label("Event, as JSON")
    event = json.loads(text.input_value())
    event["payload"]["n"] = 2
    text.fill("{ this is no JSON")
    page.get_by_role("button", name="Dispatch", exact=True).click()
    expect(page.get_by_role("alert")).to_be_visible()
    expect(text).to_have_value("{ this is no JSON")  # nobody types it twice
    somebody.expect_faults("400")
    text.fill(json.dumps(event))
    page.get_by_role("button", name="Dispatch", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("second-time")
    until(lambda: web.get("/events/second-time").status == 200, what="the event")
    assert web.get("/events/second-time").json["event"]["payload"] == {"n": 2}


def test_a_flow_is_paused_and_resumed(web: HttpPlace, visit: Visits) -> None:
    dispatch(web, "before", "calm.go")
    page = visit(web.url).open("/ui/flows/calm")
    page.get_by_role("button", name="Pause", exact=True).first.click()
    page.get_by_role("dialog").get_by_role("button", name="Yes").click()
    expect(page.locator("main")).to_contain_text("paused by")
    expect(page.get_by_role("region", name="Graph", exact=True)).to_contain_text("completed · paused")
    run_id = dispatch(web, "calm", "calm.go", wait=False)
    page.get_by_role("link", name="Now", exact=True).click()
    waiting = page.get_by_role("region", name="Waiting")
    expect(waiting).to_contain_text("calm")
    press(page, "Resume")
    expect(waiting).not_to_contain_text("calm")
    page.goto(f"{web.url}/ui/runs/{run_id}")
    expect(page.get_by_role("heading", level=1)).to_contain_text("completed")


def test_a_flow_is_fired_with_an_example(web: HttpPlace, visit: Visits) -> None:
    dispatch(web, "example", "quick.go")
    page = visit(web.url).open("/ui/flows/quick")
    page.get_by_role("link", name="Fire quick.go").click()
    assert json.loads(page.get_by_label("Event, as JSON").input_value())["payload"] == {"n": 1}
    page.get_by_label("Id", exact=True).fill("fired")
    page.get_by_role("button", name="Dispatch", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("fired")


def test_a_package_that_broke_is_shown_by_file_and_line(web: HttpPlace, visit: Visits) -> None:
    page = visit(web.url).open("/ui/flows")
    folder = web.place.path / "flows" / "ragged"
    folder.mkdir()
    (folder / "flow.toml").write_text('name = "ragged"\nversion = 1\nsteps = 3\n', encoding="utf-8")
    expect(page.get_by_role("region", name="To be looked at")).to_contain_text("flow.toml:3")
    (folder / "flow.toml").unlink()
    folder.rmdir()
    expect(page.get_by_role("region", name="To be looked at")).to_be_hidden()


def test_a_search_is_in_the_address(web: HttpPlace, visit: Visits) -> None:
    failed, quick = dispatch(web, "noisy", "noisy.go"), dispatch(web, "first-time", "quick.go")
    page = visit(web.url).open("/ui/runs")
    page.get_by_label("Search").fill("broke twice")
    page.keyboard.press("Enter")
    expect(run_row(page, failed)).to_be_visible()
    expect(run_row(page, quick)).to_have_count(0)
    again = visit(web.url)
    again.page.goto(page.url)
    expect(run_row(again.page, failed)).to_be_visible()
    expect(run_row(again.page, quick)).to_have_count(0)


def test_who_answers_second_is_told_who_was_first(web: HttpPlace, visit: Visits) -> None:
    web.place.flow("ask", say("needs_intervention", message="Shall I?"))
    web.place.call("daemon.reload")
    run_id = dispatch(web, "ask", "ask.go")
    second = visit(web.url)
    pages = [visit(web.url).open("/ui/"), second.open("/ui/")]
    for page in pages:
        page.get_by_role("button", name="Approve").click()
    for page in pages:
        page.get_by_role("dialog").get_by_role("button", name="Yes").click()
    expect(pages[1].get_by_role("status")).to_contain_text("already")
    expect(pages[1].get_by_role("article", name="ask main asks")).to_have_count(0)
    with web.place.client() as client:
        assert client.get_run(run_id).status == "completed"
    second.expect_faults("409")


def test_a_step_that_asks_is_told_the_answer(web: HttpPlace, visit: Visits) -> None:
    asks = say("needs_intervention", message="How many?")
    script = f"""case "$(cat)" in *many*) {say("completed")};; *) {asks};; esac"""
    web.place.flow("count", script)
    web.place.call("daemon.reload")
    run_id = dispatch(web, "count", "count.go")
    page = visit(web.url).open(f"/ui/runs/{run_id}")
    page.get_by_role("textbox", name="Answer to main").fill('{"many": 7}')
    page.get_by_role("button", name="Answer", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name="Yes").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("completed")
    expect(page.locator("main")).to_contain_text('"many": 7')  # what it was told stays to be read
