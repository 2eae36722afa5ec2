"""The pages of one event, one run and one flow from outside: what they show, and what they do."""

import html
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from daemon_rig import say, until, workspace
from http_rig import HttpPlace, Reply

from flowd.domain.schedule import Schedule
from flowd.domain.schedule import event_id as slot_id

FORM = {"content-type": "application/x-www-form-urlencoded"}
HOSTILE = "<script>alert(1)</script>"

RELEASE = """
name = "release"
version = 1
description = "Builds and publishes."
[[steps]]
name = "build"
runner = "exec"
script = "build.sh"
trigger = { type = "release.go" }
[[steps]]
name = "publish"
runner = "exec"
script = "publish.sh"
needs = ["build"]
"""

BUILD = r"""
i=0; while [ $i -lt 3000 ]; do i=$((i + 1)); echo "line $i of the build, which goes on for a while"; done
printf '\033[31mError: it is <broken>\033[0m\n'
test -e ../../mended || exit 3
echo 'FLOW_RESULT {"status":"changed","next":[{"type":"release.built"}]}'
"""


@pytest.fixture(scope="module")
def web() -> Iterator[HttpPlace]:
    with workspace() as place:
        release = place.path / "flows" / "release"
        package(release, RELEASE)
        for name, text in (("build.sh", BUILD), ("publish.sh", say("completed"))):
            (release / name).write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
            (release / name).chmod(0o755)
        package(place.path / "flows" / "broken", 'name = "broken"\nversion = 1\n[[steps]]\nname = "a"\nrunner = "x"\n')
        place.flow("hello", say("completed", message=HOSTILE))
        place.flow("after", say("completed"), trigger="release.built")
        place.flow("gate", say("needs_intervention", message="Publish?"))
        place.flow("slow", "echo begun; while [ ! -e ../../go ]; do sleep 0.1; done; echo ended")
        again = "[steps.retry]\nmax_attempts = 4\ndelay_ms = 1000\nfactor = 1.5\nmax_delay_ms = 60000\non = ['exit']"
        place.flow("again", say("completed"), step=again)
        yield HttpPlace(place).start()


def package(folder: Path, manifest: str) -> None:
    folder.mkdir(parents=True)
    (folder / "flow.toml").write_text(manifest, encoding="utf-8")


def dispatch(web: HttpPlace, event_id: str, kind: str, payload: Any = None) -> None:
    web.place.call("flow.dispatch", event={"id": event_id, "type": kind, "payload": payload or {}})


def ended(web: HttpPlace, event_id: str) -> None:
    waited = web.place.call("flow.waitEvent", eventId=event_id, tree=True, timeoutMs=50_000)
    assert not waited["timedOut"]


def run_of(web: HttpPlace, event_id: str, step: str) -> dict[str, Any]:
    """The newest run of a step for an event."""
    runs = web.place.call("flow.listRuns", eventId=event_id)["runs"]
    return next(run for run in runs if run["stepName"] == step)


def page(web: HttpPlace, path: str) -> str:
    reply = web.get(path, accept="text/html")
    assert reply.status == 200, reply.body.decode()[:2000]
    return reply.body.decode()


def submit(web: HttpPlace, path: str, **fields: str) -> Reply:
    return web.send("POST", path, urlencode(fields).encode(), {**FORM, "origin": web.url})


def fields_of(page: str, path: str, button: str) -> dict[str, str]:
    """What the form with this button sends to this path."""
    forms = re.findall(rf'<form method="post" action="{re.escape(path)}".*?</form>', page, re.DOTALL)
    form = next(form for form in forms if f">{button}</button>" in form)
    return {name: html.unescape(value) for name, value in re.findall(r'name="(\w+)" value="([^"]*)"', form)}


def text_of(page: str) -> str:
    return html.unescape(re.sub("<[^>]*>", "", page))


@pytest.fixture(scope="module")
def failed(web: HttpPlace) -> str:
    """An event whose first step has failed."""
    dispatch(web, "night-1", "release.go", {"tag": HOSTILE})
    ended(web, "night-1")
    return "night-1"


def test_an_event_is_shown_as_what_it_started_and_as_what_it_says(web: HttpPlace, failed: str) -> None:
    shown = page(web, f"/ui/events/{failed}")
    build = run_of(web, failed, "build")["id"]
    assert f'href="/ui/runs/{build}" aria-label="build · failed' in shown
    assert "release, round 1" in shown
    assert HOSTILE not in shown
    assert json.dumps(HOSTILE) in text_of(shown)
    assert "Retry failed" in shown


def test_an_event_tells_its_trace(web: HttpPlace) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    web.place.call(
        "flow.dispatch", event={"id": "traced-1", "type": "nobody.waits"}, traceparent=f"00-{trace}-b7ad6b7169203331-01"
    )
    assert f"trace <code>{trace}</code>" in page(web, "/ui/events/traced-1")


def test_a_run_tells_how_it_would_be_tried_again(web: HttpPlace) -> None:
    dispatch(web, "again-1", "again.go")
    ended(web, "again-1")
    shown = text_of(page(web, f"/ui/runs/{run_of(web, 'again-1', 'main')['id']}"))
    assert "4 attempts in all, after exit; 1.0 s before the second, then 1.5 times as long each time" in shown
    assert "up to 1 min" in shown


def test_an_event_is_explained_step_by_step(web: HttpPlace, failed: str) -> None:
    shown = page(web, f"/ui/events/{failed}?explain=1")
    assert re.search(r"release</a> build</th>\s*<td><span class=\"status s-completed\">yes", shown)
    assert re.search(r"hello</a> main</th>\s*<td><span class=\"status s-skipped\">no", shown)


def test_a_run_shows_the_end_of_its_output_in_colours_and_leads_to_the_error(web: HttpPlace, failed: str) -> None:
    run_id = run_of(web, failed, "build")["id"]
    shown = page(web, f"/ui/runs/{run_id}")
    assert '<a href="#stdout-e1">First error</a>' in shown
    assert '<span class="hot" id="stdout-e1"><span class="a1">Error: it is &lt;broken&gt;</span></span>' in shown
    assert "line 3000 of the build" in shown
    assert "line 1 of the build" not in shown
    assert "exited with 3" in shown


def test_all_of_an_output_can_be_read_from_piece_to_piece_without_a_script(web: HttpPlace, failed: str) -> None:
    run_id = run_of(web, failed, "build")["id"]
    whole = web.get(f"/runs/{run_id}/output?stream=stdout").body.decode()
    read, url = "", f"/ui/runs/{run_id}?stdout=0"
    while url:
        shown = page(web, url)
        found = re.search(r'data-stream="stdout"[^>]*><span data-lines>(.*?)</span><span data-open>', shown, re.DOTALL)
        assert found is not None
        read += text_of(found[1])
        later = re.search(r'<a href="([^"]*)">Later</a>', shown)
        url = html.unescape(later[1]).partition("#")[0] if later else ""
    assert read == re.sub(r"\x1b\[\d*m", "", whole)


def test_a_text_is_found_in_all_of_an_output_and_leads_to_its_line(web: HttpPlace, failed: str) -> None:
    run_id = run_of(web, failed, "build")["id"]
    shown = page(web, f"/ui/runs/{run_id}?find=LINE+17+of")
    found = re.search(r'<a href="([^"]*)">stdout at \d+</a> <code><mark>line 17 of</mark> the build', shown)
    assert found is not None
    assert "1 line has" in shown
    there = page(web, html.unescape(found[1]).partition("#")[0])
    assert re.search(r"<span data-lines>line 17 of the build", there)
    assert "0 lines have" in page(web, f"/ui/runs/{run_id}?find=%3Cnowhere%3E")


def test_a_mended_step_is_run_again_from_there_with_all_that_follows(web: HttpPlace, failed: str) -> None:
    (web.place.path / "mended").touch()
    asked = submit(web, f"/ui/events/{failed}/replay-from", step="release/build")
    assert asked.status == 200
    assert b"Run this step and all that need it again" in asked.body
    assert run_of(web, failed, "build").get("round", 1) == 1
    done = submit(web, f"/ui/events/{failed}/replay-from", step="release/build", sure="1")
    assert (done.status, done.headers["location"]) == (303, f"/ui/events/{failed}")
    ended(web, failed)
    assert run_of(web, failed, "publish")["effectiveStatus"] == "completed"
    shown = page(web, f"/ui/events/{failed}")
    assert "release, round 2" in shown
    assert 'aria-label="release.built · ' in shown  # what the build has caused, in the graph
    flow = page(web, "/ui/flows/release")
    assert '<a class="node k-next" href="/ui/flows/after" aria-label="release.built · starts after">' in flow
    assert "<title>release.go · starts it</title>" in flow


def test_all_that_failed_is_tried_again(web: HttpPlace) -> None:
    (web.place.path / "mended").unlink(missing_ok=True)
    dispatch(web, "night-2", "release.go")
    ended(web, "night-2")
    (web.place.path / "mended").touch()
    path = "/ui/events/night-2/retry-failed"
    asked = fields_of(page(web, "/ui/events/night-2"), path, "Retry failed")
    assert submit(web, path, **asked, sure="1").status == 303
    ended(web, "night-2")
    assert run_of(web, "night-2", "publish")["effectiveStatus"] == "completed"
    shown = page(web, f"/ui/runs/{run_of(web, 'night-2', 'build')['id']}")
    assert "of attempt 2" in shown
    assert re.search(r'attempt=1#output">1</a>', shown)


def test_a_retry_of_what_failed_means_the_round_that_was_seen(web: HttpPlace) -> None:
    (web.place.path / "mended").unlink(missing_ok=True)
    dispatch(web, "night-3", "release.go")
    ended(web, "night-3")
    path = "/ui/events/night-3/retry-failed"
    before = page(web, "/ui/events/night-3")
    assert "Make another attempt of all that failed (1) in round 1 of release?" in before
    first = run_of(web, "night-3", "build")["id"]
    submit(web, "/ui/events/night-3/replay-from", step="release/build", sure="1")
    ended(web, "night-3")
    second = run_of(web, "night-3", "build")["id"]

    submit(web, path, **fields_of(before, path, "Retry failed"), sure="1")
    ended(web, "night-3")
    assert attempts_of(web, first, second) == (2, 1)
    after = page(web, "/ui/events/night-3")
    submit(web, path, **fields_of(after, path, "Retry failed"), sure="1")
    ended(web, "night-3")
    assert attempts_of(web, first, second) == (2, 2)
    submit(web, path, **fields_of(after, path, "Retry failed in round 1 of release"), sure="1")
    ended(web, "night-3")
    assert attempts_of(web, first, second) == (3, 2)
    assert submit(web, path, sure="1").status == 400


def attempts_of(web: HttpPlace, *run_ids: str) -> tuple[int, ...]:
    return tuple(web.place.call("flow.getRun", runId=run_id)["run"]["attemptCount"] for run_id in run_ids)


def test_an_event_is_dispatched_again_edited(web: HttpPlace) -> None:
    dispatch(web, "hello-1", "hello.go", {"name": "</textarea><b>"})
    ended(web, "hello-1")
    form = page(web, "/ui/dispatch?like=hello-1")
    text = re.search(r"<textarea[^>]*>(.*?)</textarea>", form, re.DOTALL)
    new_id = re.search(r'name="id" value="(hello-1-[0-9a-f]{6})"', form)
    assert text is not None
    assert new_id is not None
    event = json.loads(html.unescape(text[1]))
    assert event["payload"] == {"name": "</textarea><b>"}
    event["payload"]["name"] = "edited"
    done = submit(web, "/ui/dispatch", id=new_id[1], event=json.dumps(event))
    assert (done.status, done.headers["location"]) == (303, f"/ui/events/{new_id[1]}")
    assert web.place.call("flow.getEvent", eventId=new_id[1])["event"]["payload"] == {"name": "edited"}


def test_what_is_no_event_is_refused_and_comes_back_to_be_mended(web: HttpPlace) -> None:
    for text in ("{ no JSON", "[1]", '{"type": ""}'):
        refused = submit(web, "/ui/dispatch", id="x-1", event=text)
        assert refused.status == 400
        assert b"data-problem" in refused.body
        assert text in text_of(refused.body.decode())


def test_other_content_under_an_id_that_is_taken_comes_back_to_be_mended(web: HttpPlace) -> None:
    dispatch(web, "hello-5", "hello.go", {"n": 1})
    event = json.dumps({"type": "hello.go", "payload": {"n": 2}})
    refused = submit(web, "/ui/dispatch", id="hello-5", event=event)
    assert refused.status == 409
    assert "is stored already with other content" in text_of(refused.body.decode())


def test_what_an_event_would_start_is_told_before_it_is_sent(web: HttpPlace) -> None:
    event = json.dumps({"type": "hello.go"})
    told = submit(web, "/ui/dispatch", id="hello-6", event=event, explain="1").body.decode()
    assert re.search(r"hello</a> main</th>\s*<td><span class=\"status s-completed\">yes", told)
    assert web.get("/events/hello-6").status == 404


def test_what_a_step_says_is_text_on_every_page(web: HttpPlace) -> None:
    dispatch(web, "hello-2", "hello.go")
    ended(web, "hello-2")
    for path in ("/ui/events/hello-2", f"/ui/runs/{run_of(web, 'hello-2', 'main')['id']}", "/ui/flows/hello"):
        assert HOSTILE not in page(web, path)


def test_what_a_step_prints_comes_as_it_prints_it(web: HttpPlace) -> None:
    dispatch(web, "slow-1", "slow.go")
    run = until(lambda: run_of(web, "slow-1", "main")["status"] == "running" and run_of(web, "slow-1", "main"))
    path = f"/ui/runs/{run['id']}/tail?attempt=1&wait=1"
    first = until(lambda: (got := page(web, path)) and "begun" in got and got)
    (next_, pen) = re.findall(r'data-stream="stdout" data-next="(\d+)"[^>]*data-pen="([^"]*)"', first)[0]
    assert (next_, pen) == ("6", "")
    (web.place.path / "go").touch()
    second = page(web, f"{path}&stdout=6&stdoutSeen=6")
    assert "ended" in second
    assert "begun" not in second
    ended(web, "slow-1")
    assert 'data-end="1"' in page(web, f"{path}&stdout=12&stdoutSeen=12")


def test_how_far_a_step_is_stands_on_its_page_and_in_the_graph(web: HttpPlace) -> None:
    said = json.dumps({"percent": 40, "message": "<b>halfway</b>"})
    web.place.flow("far", f"echo 'FLOW_PROGRESS {said}'; while [ ! -e ../../far ]; do sleep 0.1; done")
    web.place.call("daemon.reload")
    dispatch(web, "far-1", "far.go")
    until(lambda: "progress" in run_of(web, "far-1", "main"), what="progress")
    shown = page(web, f"/ui/runs/{run_of(web, 'far-1', 'main')['id']}")
    assert "40 %" in shown
    assert "&lt;b&gt;halfway&lt;/b&gt;" in shown
    assert 'aria-label="main · running · 40 %"' in page(web, "/ui/events/far-1")
    (web.place.path / "far").touch()
    ended(web, "far-1")


def test_who_hangs_up_while_waiting_for_output_leaves_nothing_behind(web: HttpPlace) -> None:
    (web.place.path / "go").unlink(missing_ok=True)
    dispatch(web, "slow-3", "slow.go")
    run = until(lambda: run_of(web, "slow-3", "main")["status"] == "running" and run_of(web, "slow-3", "main"))
    path = f"/ui/runs/{run['id']}/tail?attempt=1&wait=1&stdout=6&stdoutSeen=6"
    until(lambda: "begun" in page(web, f"/ui/runs/{run['id']}"))
    with pytest.raises(TimeoutError):
        web.send("GET", path, timeout_s=0.5)
    (web.place.path / "go").touch()
    ended(web, "slow-3")
    assert "unexpected error" not in web.place.log()


def test_a_run_is_ended_from_its_page(web: HttpPlace) -> None:
    (web.place.path / "go").unlink(missing_ok=True)
    dispatch(web, "slow-2", "slow.go")
    run = until(lambda: run_of(web, "slow-2", "main")["status"] == "running" and run_of(web, "slow-2", "main"))
    assert "Cancel" in page(web, f"/ui/runs/{run['id']}")
    assert submit(web, f"/ui/runs/{run['id']}/cancel", sure="1").status == 303
    ended(web, "slow-2")
    assert run_of(web, "slow-2", "main")["effectiveStatus"] == "canceled"


def test_a_question_is_answered_on_the_page_of_its_event(web: HttpPlace) -> None:
    dispatch(web, "gate-1", "gate.go")
    ended(web, "gate-1")
    run = run_of(web, "gate-1", "main")
    shown = page(web, "/ui/events/gate-1")
    assert "Publish?" in shown
    assert f'formaction="/ui/runs/{run["id"]}/approve"' in shown
    done = submit(web, f"/ui/runs/{run['id']}/approve", sure="1", text="", back="/ui/events/gate-1")
    assert (done.status, done.headers["location"]) == (303, "/ui/events/gate-1")
    assert "Publish?" not in re.sub(r'<section data-part="runs".*', "", page(web, "/ui/events/gate-1"), flags=re.DOTALL)
    assert "said <b>completed</b>" in page(web, f"/ui/runs/{run['id']}")


def test_who_says_no_gets_the_form_back_with_what_they_had_typed(web: HttpPlace) -> None:
    dispatch(web, "gate-2", "gate.go")
    ended(web, "gate-2")
    run_id = run_of(web, "gate-2", "main")["id"]
    path, note = f"/ui/runs/{run_id}/approve", 'as "agreed" & said'
    shown = page(web, "/ui/events/gate-2")
    given = {**fields_of(shown, f"/ui/runs/{run_id}/answer", "Answer"), "text": note}
    asked = submit(web, path, **given).body.decode()
    no = re.search(r'<a class="button" href="([^"]*)">No</a>', asked)
    assert no is not None
    again = page(web, html.unescape(no[1]).partition("#")[0])
    assert fields_of(again, f"/ui/runs/{run_id}/answer", "Answer")["back"] == "/ui/events/gate-2"
    (value,) = re.findall(rf'id="in-{run_id}" name="text" value="([^"]*)"', again)
    assert html.unescape(value) == note
    assert submit(web, path, sure="1", back="/ui/").status == 303


def test_a_run_shows_what_it_was_made_with_also_after_an_edit(web: HttpPlace) -> None:
    place = web.place
    place.flow("edited", say("completed"), step='args = ["--as-it-was", { pointer = "/id" }]')
    place.call("daemon.reload")
    dispatch(web, "edited-1", "edited.go")
    ended(web, "edited-1")
    path = f"/ui/runs/{run_of(web, 'edited-1', 'main')['id']}"
    assert "as it is now" in page(web, path)
    place.flow("edited", say("completed"), step='args = ["--other"]')
    place.call("daemon.reload")
    shown = page(web, path)
    assert "changed since: now" in shown
    assert "--as-it-was" in shown
    assert "--other" not in shown


def test_flows_and_what_is_wrong_with_them(web: HttpPlace) -> None:
    shown = page(web, "/ui/flows")
    assert "Builds and publishes." in shown
    assert re.search(r"flows/broken/flow.toml:3:3</code>: .*script is missing", shown)
    assert re.search(r"flows/broken/flow.toml:5:10</code>: .*runner", shown)
    assert "flows/broken/flow.toml" in page(web, "/ui/flows/broken")
    assert web.get("/ui/flows/nowhere", accept="text/html").status == 404


def test_a_flow_shows_what_comes_by_itself(web: HttpPlace) -> None:
    night = '[[schedules]]\nname = "night"\ncron = "30 2 1 1 *"\ntimezone = "Asia/Tokyo"\ntype = "nightly.go"\n'
    web.place.flow("nightly", say("changed"), top=night)
    web.place.call("daemon.reload")
    until(lambda: web.place.call("flow.schedules", flow="nightly")["schedules"][0].get("next"))
    shown = page(web, "/ui/flows/nightly")
    assert re.search(r"<time datetime=\"[^\"]+\">\d{4}-01-01 02:30</time> Asia/Tokyo", shown)
    assert "never yet" in shown
    slots = [slot_id("nightly", "night", slot_ms) for slot_ms in (1_700_000_040_000, 1_700_100_000_000)]
    web.place.call("flow.dispatch", event={"id": slots[0], "type": "nightly.go"}, wait=True)
    rule = Schedule("night", "30 2 1 1 *", "nightly.go", "Asia/Tokyo", {}).rule
    with web.place.database() as db:
        told = json.dumps([[1_700_000_040_000, 1_700_000_040_001], [1_700_100_000_000, 1_700_100_000_001]])
        db.execute("INSERT INTO schedules VALUES (?, ?, ?, ?, ?)", ("nightly", "night", rule, "[]", told))
    shown = page(web, "/ui/flows/nightly")
    assert re.search(r'<a class="status s-changed" href="[^"]*/ui/events/schedule%3Anightly%2Fnight%3A2023', shown)
    assert "forgotten" in shown
    web.place.call("flow.pause", flow="nightly")
    assert 'title="nightly is paused, so its runs wait">paused' in page(web, "/ui/flows/nightly")
    web.place.call("flow.resume", flow="nightly")  # other tests look at what is paused


def test_what_validate_doubts_is_told_beside_the_flow(web: HttpPlace) -> None:
    folder = web.place.flow("doubtful", say("completed"), step='[steps.env]\nTOKEN = { secret = "npm" }')
    text = (folder / "flow.toml").read_text(encoding="utf-8")
    (folder / "flow.toml").write_text(text.partition("[steps.trigger]")[0], encoding="utf-8")
    web.place.call("daemon.reload")
    shown = text_of(page(web, "/ui/flows/doubtful"))
    assert 'step "main": no event starts it' in shown
    assert "the settings have no [secrets.npm]" in shown
    assert "ok · 2 warnings" in text_of(page(web, "/ui/flows?text=doubtful"))


def test_a_retry_that_waits_says_when_it_comes(web: HttpPlace) -> None:
    again = "[steps.retry]\nmax_attempts = 3\ndelay_ms = 3600000\nmax_delay_ms = 3600000\non = ['exit']"
    web.place.flow("later", "exit 1", step=again)
    web.place.call("daemon.reload")
    dispatch(web, "later-1", "later.go")
    run = until(
        lambda: (found := run_of(web, "later-1", "main"))["attemptCount"] == 1 and found["status"] == "queued" and found
    )
    shown = page(web, "/ui/")
    assert f'its retry, attempt 2 of 3, at <time datetime="{run["waitingFor"]["until"]}">' in shown
    web.place.call("flow.cancelRun", runId=run["id"])


def test_a_flow_and_a_step_are_paused_and_go_on(web: HttpPlace) -> None:
    assert submit(web, "/ui/flows/hello/pause", sure="1").status == 303
    assert "It is paused by" in page(web, "/ui/flows/hello")
    assert submit(web, "/ui/flows/hello/resume", sure="1").status == 303
    assert submit(web, "/ui/flows/release/pause", step="publish", sure="1").status == 303
    assert web.place.call("flow.queue")["pauses"][0]["what"] == "release/publish"
    assert "Let release/publish go on?" in page(web, "/ui/flows/release")
    assert submit(web, "/ui/flows/release/resume", step="publish", sure="1").status == 303
    assert web.place.call("flow.queue")["pauses"] == []


def test_an_example_of_a_trigger_is_like_the_last_event_of_its_type(web: HttpPlace) -> None:
    dispatch(web, "hello-3", "hello.go", {"like": "this"})
    form = page(web, "/ui/dispatch?type=hello.go")
    assert '"like": "this"' in text_of(form)
    assert "No event of this type has come yet" in page(web, "/ui/dispatch?type=never.seen")


def test_secrets_are_masked_wherever_a_piece_of_output_begins_and_no_search_finds_them() -> None:
    secret = "tr0ub4dor-and-three"
    with workspace() as place:
        (place.path / ".codex").mkdir()
        (place.path / ".codex/flowd.toml").write_text('[environment]\nredact = ["DEMO_TOKEN"]\n')
        place.flow(
            "tell", 'i=0; while [ $i -lt 9000 ]; do i=$((i + 1)); echo "$i is $DEMO_TOKEN, and more of it"; done'
        )
        web = HttpPlace(place).start(DEMO_TOKEN=secret)
        dispatch(web, "tell-1", "tell.go")
        ended(web, "tell-1")
        path = f"/ui/runs/{run_of(web, 'tell-1', 'main')['id']}"
        for begin in ("", "?stdout=0", *(f"?stdout={at}" for at in range(30, 60))):
            shown = page(web, f"{path}{begin}")
            assert "***, and more of it" in shown
            assert secret[6:] not in shown
        read, url = "", f"{path}?stdout=0"
        while url:
            shown = page(web, url)
            found = re.search(r"<span data-lines>(.*?)</span><span data-open>(.*?)</span>", shown, re.DOTALL)
            assert found is not None
            read += text_of(found[1])
            later = re.search(r'<a href="([^"]*)">Later</a>', shown)
            url = html.unescape(later[1]).partition("#")[0] if later else ""
        whole = "".join(f"{number} is ***, and more of it\n" for number in range(1, 9001))
        assert read == whole
        for more in ("", "&follow=1", "&offset=9"):  # the secret begins at 5
            got = web.get(f"{path.removeprefix('/ui')}/output?stream=stdout{more}").body.decode()
            assert got == (whole[5:] if "offset" in more else whole)
        for part in (secret, secret[:6], f"is {secret[0]}"):
            assert "0 lines have" in page(web, f"{path}?{urlencode({'find': part})}")
        assert "lines have" in page(web, f"{path}?find=is+***")
