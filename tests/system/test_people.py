"""A run asks, and people answer: from the command line, over the socket, over HTTP, and in local mode."""

import json
import os
import pwd
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import documentation
import pytest
from daemon_rig import Workspace, flowd, flowd_says, workspace
from http_rig import HttpPlace, write_secret

from flowd_client import ConflictError, InvalidCallError, create_flow_client

ME = {"via": "socket", "uid": os.geteuid(), "name": pwd.getpwuid(os.geteuid()).pw_name}

ASK = """
def run(context):
    answer = context["runtime"].get("answer")
    if answer is None:
        return {"status": "needs_intervention", "message": "Publish v1.1.0? Read NOTES.md"}
    if answer.get("input") == "again":
        return {"status": "blocked", "message": "Really?"}
    return {"status": "changed", "told": answer}
"""
TOKENS = '[http]\nlisten = "127.0.0.1:0"\n[http.tokens.ci]\nfile = "ci"\nscopes = ["read", "dispatch", "control"]\n'


@pytest.fixture(scope="module")
def web() -> Iterator[HttpPlace]:
    with workspace() as place:
        place.flow("ask", ASK, runner="python")
        write_secret(place.path / "ci", "ci-token")
        it = HttpPlace(place)
        it.configure(TOKENS)
        yield it.start(FLOWD_HTTP="", FLOWD_HTTP_OPEN="")


@pytest.fixture
def place(web: HttpPlace) -> Workspace:
    return web.place


def ask(place: Workspace, event_id: str) -> str:
    """A run that asks; its id."""
    answer = place.call("flow.dispatch", event={"id": event_id, "type": "ask.go"}, wait=True)
    assert answer["runs"][0]["needsAttention"] is True
    return str(answer["runIds"][0])


def run_of(place: Workspace, run_id: str) -> dict[str, Any]:
    view: dict[str, Any] = place.call("flow.getRun", runId=run_id)["run"]
    return view


def test_a_question_is_listed_and_approved_from_the_command_line(place: Workspace) -> None:
    waited = flowd(place, "dispatch", "--id", "cli", "--type", "ask.go", "--wait")
    assert waited.returncode == 1
    assert "Publish v1.1.0? Read NOTES.md" in waited.stdout
    run_id = place.call("flow.getEvent", eventId="cli")["event"]["runIds"][0]
    assert "ask/main asks: Publish v1.1.0? Read NOTES.md" in waited.stderr
    assert f"`flowd approve {run_id} -w {place.path}` says yes" in waited.stderr
    listed = flowd(place, "attention")
    assert "Publish v1.1.0? Read NOTES.md" in listed.stdout
    assert f"flowd reject {run_id} -w" in listed.stdout
    done = flowd(place, "approve", run_id, "-m", "read them")
    assert (done.returncode, done.stdout) == (0, f"{run_id} counts as completed\n")
    view = run_of(place, run_id)
    assert (view["status"], view["effectiveStatus"], view["needsAttention"]) == ("completed", "completed", False)
    assert view["result"] == json.loads(view["resultJson"]) == {"status": "completed", "message": "read them"}
    assert view["reportedResult"]["status"] == "needs_intervention"
    assert (view["resolution"]["status"], view["resolution"]["by"]) == ("completed", ME)
    shown = flowd(place, "run", run_id).stdout
    assert f"completed by {ME['name']} at " in shown
    again = flowd(place, "reject", run_id)
    assert (again.returncode, f"was approved by {ME['name']}" in again.stderr) == (5, True)
    retried = flowd(place, "retry", run_id)
    assert (retried.returncode, "ended well (completed)" in retried.stderr) == (5, True)
    assert flowd(place, "approve", "run_none").returncode == 4
    assert run_id not in flowd(place, "attention").stdout


def test_of_two_people_at_once_one_is_told_who_was_first(place: Workspace) -> None:
    run_id = ask(place, "two")

    def say_so(status: str) -> dict[str, Any] | ConflictError:
        with place.client() as client:
            try:
                return dict(client.resolve_run(run_id, status).raw)  # type: ignore[arg-type]
            except ConflictError as error:
                return error

    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(say_so, ("completed", "failed")))
    (late,) = [one for one in both if isinstance(one, ConflictError)]
    (first,) = [one for one in both if not isinstance(one, ConflictError)]
    assert late.slug == "already_answered"
    assert late.data["resolution"] == first["resolution"]
    assert late.data["resolution"]["by"] == ME


def test_over_http_it_is_the_token_that_answered(web: HttpPlace) -> None:
    run_id, bearer = ask(web.place, "http"), {"authorization": "Bearer ci-token"}
    assert web.post(f"/runs/{run_id}/resolve", {"status": "failed"}).status == 401
    assert web.post(f"/runs/{run_id}/resolve", {"status": "done"}, **bearer).slug == "invalid_params"
    assert web.post(f"/runs/{run_id}/resolve", {"status": "failed", "nots": "x"}, **bearer).slug == "invalid_params"
    assert web.post(f"/runs/{run_id}/resolve", [1], **bearer).slug == "bad_request"
    assert [one["run"]["id"] for one in web.get("/attention", **bearer).json["questions"]] == [run_id]
    assert "\nflowd_runs_asking 1.0\n" in web.get("/metrics", **bearer).body.decode()
    asking = web.get("/status", **bearer).json["attention"]
    assert (asking["count"], asking["questions"][0]["message"]) == (1, "Publish v1.1.0? Read NOTES.md")
    with create_flow_client(mode="http", base_url=web.url, bearer_token="ci-token") as client:
        view = client.resolve_run(run_id, "failed", note="not on a Friday")
        assert (view.effective_status, view.message) == ("failed", "not on a Friday")
        assert view.resolution is not None
        assert view.resolution["by"] == {"via": "token", "name": "ci"}
        assert client.attention().items == ()
    late = web.post(f"/runs/{run_id}/answer", {"input": 1}, **bearer)
    assert (late.status, late.slug) == (409, "already_answered")
    retried = web.post(f"/runs/{run_id}/retry", **bearer)
    assert retried.status == 200
    assert "resolution" not in retried.json["run"]
    assert retried.json["run"]["attempts"][0]["resolution"]["note"] == "not on a Friday"


def test_an_answer_goes_with_each_attempt_until_the_run_is_answered_anew(place: Workspace) -> None:
    run_id = ask(place, "answers")
    with place.client() as client:
        assert client.answer_run(run_id, "again", attempt=1).answer is not None
        second = client.wait_run(run_id)
        assert (second.effective_status, second.message) == ("blocked", "Really?")
        assert second.answer is not None
        assert (second.answer["input"], second.answer["by"]) == ("again", ME)
        with pytest.raises(ConflictError, match="answered by"):
            client.resolve_run(run_id, "completed", attempt=1)
        client.answer_run(run_id, {"version": [1, 2]}, attempt=2)
        third = client.wait_run(run_id)
        assert third.effective_status == "changed"
        assert third.result_payload["told"] == third.answer == third.attempts[2].answer
        assert third.result_payload["told"]["input"] == {"version": [1, 2]}
        assert [one.result_status for one in third.attempts] == ["needs_intervention", "blocked", None]
        assert third.attempts[1].answer is not None
        assert third.attempts[1].answer["input"] == "again"


def test_only_a_question_is_answered(place: Workspace) -> None:
    with place.client() as client:
        run_id = ask(place, "over")
        client.answer_run(run_id)
        assert client.wait_run(run_id).effective_status == "changed"
        with pytest.raises(ConflictError) as refused:
            client.resolve_run(run_id, "completed")
        assert refused.value.slug == "not_asking"
        with pytest.raises(InvalidCallError, match="it may have 262144"):
            client.answer_run(run_id, "x" * 300_000)
        with pytest.raises(InvalidCallError, match="note"):
            client.resolve_run(run_id, "completed", note="x" * 10_001)


def test_canceling_a_run_that_asks_names_what_closes_its_question(place: Workspace) -> None:
    run_id = ask(place, "not-canceled")
    told = flowd_says(place, "cancel", run_id, code=5)
    assert f"`flowd reject {run_id}` says no, and a cancel of event not-canceled closes the question" in told


def test_canceling_an_event_closes_its_questions(place: Workspace) -> None:
    run_id = ask(place, "canceled")
    (view,) = place.call("flow.cancelEvent", eventId="canceled")["runs"]
    assert (view["id"], view["effectiveStatus"], view["needsAttention"]) == (run_id, "canceled", False)
    assert (view["resolution"]["status"], view["resolution"]["by"]) == ("canceled", ME)
    assert "result" not in view


def test_the_example_in_python_of_the_documentation_answers_and_pauses() -> None:
    page = documentation.CHECKOUT / "docs/order.md"
    (example,) = (block.text for block in documentation.blocks(page) if block.name == "people")
    with workspace() as place:
        place.flow("release", ASK, runner="python", trigger="ask.go")
        place.start()
        asked = ask(place, "example")
        done = subprocess.run(
            [sys.executable, "-c", example], cwd=place.path, capture_output=True, text=True, timeout=60
        )
        assert done.stdout == "release Publish v1.1.0? Read NOTES.md ()\nrelease\nTrue\n", done.stderr
        assert run_of(place, asked)["resolution"]["note"] == "read it"


def test_a_word_and_a_question_outlive_the_daemon() -> None:
    with workspace() as place:
        place.flow("ask", ASK, runner="python")
        place.start()
        answered, open_ = ask(place, "a"), ask(place, "b")
        place.call("flow.resolveRun", runId=answered, status="skipped")
        place.kill()
        place.start()
        assert run_of(place, answered)["effectiveStatus"] == "skipped"
        asking = place.call("flow.attention")["questions"]
        assert [(one["run"]["id"], one["message"]) for one in asking] == [(open_, "Publish v1.1.0? Read NOTES.md")]
        place.call("flow.answerRun", runId=open_, input=3)
        assert place.call("flow.waitRun", runId=open_)["run"]["result"]["told"]["input"] == 3


def test_in_local_mode_it_is_the_user_of_the_process_who_answers(tmp_path: Path) -> None:
    Workspace(tmp_path).flow("ask", ASK, runner="python")
    with create_flow_client(mode="local", workspace=tmp_path, state="memory") as client:
        run = client.dispatch_event({"id": "e", "type": "ask.go"}, wait=True).runs[0]
        assert [question.message for question in client.attention()] == ["Publish v1.1.0? Read NOTES.md"]
        resolved = client.resolve_run(run.id, "changed")
        assert resolved.resolution is not None
        assert resolved.resolution["by"] == {**ME, "via": "local"}
        assert resolved.result_payload["message"] == "Publish v1.1.0? Read NOTES.md"
