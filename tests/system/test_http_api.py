"""The HTTP shim as its clients see it: the reference system's routes, with what its own server never had."""

import http.client
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from daemon_rig import Workspace, say, until, workspace
from http_rig import HttpPlace, curl

RUN_MEMBERS = {
    "id", "eventId", "flowName", "flowVersion", "stepName", "runner", "backend", "status", "processStatus",
    "effectiveStatus", "needsAttention", "attemptCount", "attempts", "packageHash", "createdAt", "updatedAt",
}  # fmt: skip


@pytest.fixture(scope="module")
def web() -> Iterator[HttpPlace]:
    """One daemon for all the tests here; each has its own ids."""
    with workspace() as place:
        place.flow("hello", f"echo out; echo err >&2; {say('changed', message='done')}")
        place.flow("stuck", say("blocked"))
        place.flow("bad", f"{say('completed')}; exit 3")
        place.flow("slow", f"echo begun; sleep 60; {say('completed')}")
        counting = "for i in 1 2 3; do echo $i; until [ -e said-$i ]; do sleep 0.01; done; done"
        place.flow("count", f"{counting}; {say('completed')}")
        yield HttpPlace(place).start()


def test_dispatch_answers_202_with_the_run_and_again_as_a_duplicate(web: HttpPlace) -> None:
    for path in ("/events", "/flow-events"):
        event = {"id": f"d{path}", "type": "hello.go", "payload": {"n": 1}}
        first, again = web.post(path, event), web.post(path, event)
        assert (first.status, again.status) == (202, 202)
        assert first.headers["content-type"] == "application/json"
        assert (first.json["status"], first.json["matched"]) == ("accepted", 1)
        assert (again.json["status"], again.json["matched"], again.json["idempotent"]) == ("duplicate", 0, True)
        assert first.json["runIds"] == again.json["runIds"]


def test_wait_answers_with_the_runs_as_they_ended(web: HttpPlace) -> None:
    by_query = web.post("/events?wait=true", {"id": "w1", "type": "stuck.go"}).json
    (run,) = by_query["runs"]
    assert (run["status"], run["effectiveStatus"], run["needsAttention"]) == ("completed", "blocked", True)
    assert by_query["timedOut"] is False
    by_body = web.post("/events", {"event": {"id": "w2", "type": "stuck.go"}, "wait": True}).json
    assert by_body["runs"][0]["effectiveStatus"] == "blocked"
    bounded = web.post("/events?wait=1&timeoutMs=50", {"id": "w3", "type": "slow.go"}).json
    assert bounded["timedOut"] is True
    web.post(f"/runs/{bounded['runIds'][0]}/cancel", {})


def test_records_carry_the_result_unwrapped_and_never_null(web: HttpPlace) -> None:
    run_id = web.post("/events?wait=true", {"id": "r1", "type": "hello.go"}).json["runIds"][0]
    run = web.get(f"/runs/{run_id}").json["run"]
    assert set(run) >= RUN_MEMBERS
    assert run["result"] == json.loads(run["resultJson"]) == {"status": "changed", "message": "done"}
    assert [(entry["kind"], entry["text"].splitlines()[0]) for entry in run["output"]] == [
        ("stdout", "out"),
        ("stderr", "err"),
    ]
    assert run["createdAt"].endswith("Z")
    assert len(run["createdAt"]) == len("2026-01-01T00:00:00.000Z")
    assert "null" not in json.dumps(run)


def test_a_success_result_never_hangs_on_a_failed_run(web: HttpPlace) -> None:
    (run,) = web.post("/events?wait=true", {"id": "f1", "type": "bad.go"}).json["runs"]
    assert (run["status"], run["effectiveStatus"]) == ("failed", "failed")
    assert "result" not in run
    assert "resultJson" not in run
    assert run["reportedResult"]["status"] == "completed"


@pytest.mark.parametrize("event_id", ["patch:upstream.release:openai/codex:v1", "a b?c#d", "ünï/%2F", "x" * 1000])
def test_ids_travel_percent_encoded_in_one_segment(web: HttpPlace, event_id: str) -> None:
    web.post("/events", {"id": event_id, "type": "nothing"})
    found = web.get(f"/events/{quote(event_id, safe='')}")
    assert found.status == 200
    assert found.json["event"]["id"] == event_id
    replayed = web.post(f"/events/{quote(event_id, safe='')}/replay")
    assert (replayed.status, replayed.json["eventId"]) == (202, event_id)


def test_replay_takes_no_body_an_object_or_anything(web: HttpPlace) -> None:
    first = web.post("/events?wait=true", {"id": "rp", "type": "stuck.go"}).json["runIds"]
    for body in (None, b"", {}, {"wait": True}, {"wait": 1}, [], "x", 5):
        answer = web.post("/events/rp/replay", body)
        assert answer.status == 202
        assert answer.json["runIds"][0].endswith("_replay")
        assert answer.json["runIds"] != first
    waited = web.post("/events/rp/replay", {"wait": True}).json
    assert waited["runs"][0]["status"] == "completed"
    unknown = web.post("/events/none/replay", {})
    assert (unknown.status, unknown.json["error"]) == (404, "event not found")


def test_lists_filter_by_either_status_and_page(web: HttpPlace) -> None:
    for n in range(4):
        web.post("/events?wait=true", {"id": f"l{n}", "type": "stuck.go"})
    blocked = web.get("/runs?status=blocked&limit=500").json["runs"]
    assert {run["effectiveStatus"] for run in blocked} == {"blocked"}
    assert len(blocked) >= 4
    assert web.get("/runs?eventId=l1").json["eventId"] == "l1"
    page = web.get("/runs?limit=2").json
    following = web.get(f"/runs?limit=2&cursor={page['nextCursor']}").json
    assert len(page["runs"]) == 2
    assert not {run["id"] for run in page["runs"]} & {run["id"] for run in following["runs"]}
    for limit, count in (("0", 50), ("-3", 1), ("x", 50), ("2.9", 2), ("9999", 500)):
        assert len(web.get(f"/events?limit={limit}").json["events"]) <= count
    assert len(web.get("/events?limit=-3").json["events"]) == 1
    assert web.get("/runs?status=&limit=1&unknown=x").status == 200


def test_texts_that_clients_know_stay_as_they_are(web: HttpPlace) -> None:
    for path, text in (
        ("/events/none", "event not found"),
        ("/runs/none", "run not found"),
        ("/", "not found"),
        ("/runs/", "not found"),
        ("/events/", "not found"),
        ("/healthz/", "not found"),
        ("/none", "not found"),
        ("/runs/a/b", "not found"),
    ):
        answer = web.get(path)
        assert (answer.status, answer.json["error"]) == (404, text), path
        assert answer.headers["content-type"] == "application/json"
        if text == "not found":
            assert "/openapi.json" in answer.json["hint"], path
    assert "/ui/" in web.get("/").json["hint"]
    assert web.get("/healthz").json == {"ok": True}
    assert web.get("/readyz").json == {"ok": True}


def test_cancel_and_retry_answer_with_the_run(web: HttpPlace) -> None:
    run_id = web.post("/events", {"id": "c1", "type": "slow.go"}).json["runIds"][0]
    until(lambda: b"begun" in web.get(f"/runs/{run_id}/output").body, what="the step's first word")
    form = web.post(f"/runs/{run_id}/cancel", b"", content_type="text/plain")
    assert (form.status, form.slug) == (415, "unsupported_media_type")  # as a page might, without a preflight
    canceled = web.post(f"/runs/{run_id}/cancel", b"")  # nothing, announced as JSON: what many HTTP libraries send
    assert (canceled.status, canceled.json["run"]["status"]) == (200, "canceled")
    bad = web.post("/events?wait=true", {"id": "c2", "type": "bad.go"}).json["runIds"][0]
    assert web.post(f"/runs/{bad}/cancel", {}).slug == "run_finished"
    retried = web.post(f"/runs/{bad}/retry", {})
    assert (retried.status, retried.json["run"]["id"]) == (200, bad)
    ended = web.get(f"/runs/{bad}/wait").json["run"]
    assert (ended["status"], ended["attemptCount"]) == ("failed", 2)
    good = web.post("/events?wait=true", {"id": "c3", "type": "hello.go"}).json["runIds"][0]
    assert (web.post(f"/runs/{good}/retry").status, web.post(f"/runs/{good}/retry").slug) == (409, "not_retryable")


def test_output_comes_whole_in_ranges_and_by_attempt(web: HttpPlace) -> None:
    run_id = web.post("/events?wait=true", {"id": "o1", "type": "hello.go"}).json["runIds"][0]
    path = f"/runs/{run_id}/output"
    whole = web.get(path)
    assert (whole.status, whole.headers["content-type"]) == (200, "text/plain; charset=utf-8")
    assert whole.body.startswith(b"out\nFLOW_RESULT")
    assert web.get(f"{path}?stream=stderr").body == b"err\n"
    assert web.get(path, accept="application/octet-stream").headers["content-type"] == "application/octet-stream"
    size = len(whole.body)
    far = "9" * 20
    for wanted, begin, end in (
        ("0-2", 0, 3), ("4-", 4, size), ("-5", size - 5, size), (f"1-{size * 9}", 1, size), (f"1-{far}", 1, size),
        (f"-{far}", 0, size),
    ):  # fmt: skip
        part = web.get(path, range=f"bytes={wanted}")
        assert (part.status, part.body) == (206, whole.body[begin:end])
        assert part.headers["content-range"] == f"bytes {begin}-{end - 1}/{size}"
    for ignored in ("bytes=0-1,3-4", "lines=1-2", "bytes=5-2", "bytes=-"):
        assert web.get(path, range=ignored).status == 200
    for begin in (size, far):
        beyond = web.get(path, range=f"bytes={begin}-")
        assert (beyond.status, beyond.headers["content-range"]) == (416, f"bytes */{size}")
    nothing_yet = web.get(f"{path}?offset={size + 5}")
    assert (nothing_yet.status, nothing_yet.body) == (200, b"")
    assert web.get(f"{path}?attempt=2").status == 400
    assert web.get(f"{path}?stream=stdin").status == 400


def test_follow_sends_each_line_as_it_is_written(web: HttpPlace) -> None:
    run_id = web.post("/events", {"id": "fo", "type": "count.go"}).json["runIds"][0]
    connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=20)
    try:
        connection.request("GET", f"/runs/{run_id}/output?follow=1")
        response = connection.getresponse()
        assert response.getheader("transfer-encoding") == "chunked"
        for number in (1, 2, 3):
            assert response.readline() == b"%d\n" % number
            (web.place.path / f"flows/count/said-{number}").touch()  # the next comes only then
        assert response.read().startswith(b"FLOW_RESULT ")
    finally:
        connection.close()
    assert web.get(f"/runs/{run_id}").json["run"]["status"] == "completed"


def test_explain_and_flows_say_what_would_happen(web: HttpPlace) -> None:
    assert {flow["name"] for flow in web.get("/flows").json["flows"]} >= {"hello", "slow"}
    answer = web.post("/explain", {"id": "x1", "type": "hello.go"})
    assert (answer.status, answer.json["matched"]) == (200, 1)
    assert web.get("/events/x1").status == 404


def test_metrics_are_in_the_text_format(web: HttpPlace) -> None:
    web.get("/runs")
    text = web.get("/metrics").body.decode()
    assert 'flowd_http_requests_total{route="GET /runs",status="200"}' in text
    assert 'flowd_runs{status="completed"}' in text
    for line in text.splitlines():
        assert line.startswith("# ") or float(line.rpartition(" ")[2]) >= 0


def test_a_keepers_death_is_counted_and_logged(place: Workspace) -> None:
    web = HttpPlace(place).start()
    counted = lambda: b"flowd_keeper_restarts_total 1.0\n" in web.get("/metrics").body  # noqa: E731
    assert b"flowd_keeper_restarts_total 0.0\n" in web.get("/metrics").body
    keeper = place.keeper_pid()
    os.kill(keeper, signal.SIGKILL)
    until(counted, what="the next keeper")
    assert place.call("daemon.status")["keeper"]["restarts"] == 1
    (line,) = (line for line in map(json.loads, place.log().splitlines()) if line["event"] == "keeper restarted")
    assert (line["level"], line["old_pid"], line["pid"]) == ("warn", keeper, place.keeper_pid())


def test_curl_and_node_see_the_same(web: HttpPlace) -> None:
    said = curl("-H", "content-type: application/json", "-d", '{"id":"curl","type":"hello.go"}', f"{web.url}/events")
    assert json.loads(said)["status"] == "accepted"
    script = """
      const base = process.argv[1];
      const post = async (path, body) => (await fetch(base + path, {method: "POST",
        headers: {"content-type": "application/json"}, body: JSON.stringify(body)})).json();
      const event = await post("/events?wait=true", {id: "node:a/b", type: "stuck.go", payload: {s: "ü"}});
      const read = await (await fetch(base + "/events/" + encodeURIComponent("node:a/b"))).json();
      const missing = await fetch(base + "/runs/none");
      const output = await (await fetch(`${base}/runs/${event.runIds[0]}/output`)).text();
      console.log(JSON.stringify({runs: event.runs.map(r => r.effectiveStatus), payload: read.event.payload,
        missing: missing.status, output}));
    """
    done = subprocess.run(
        ["node", "--input-type=module", "-e", script, "--", web.url], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stderr
    said_by_node = json.loads(done.stdout)
    assert said_by_node["runs"] == ["blocked"]
    assert said_by_node["payload"] == {"s": "ü"}
    assert said_by_node["missing"] == 404
    assert said_by_node["output"].startswith("FLOW_RESULT")


def test_readyz_says_503_while_the_daemon_drains(place: Workspace) -> None:
    web = HttpPlace(place).start()
    place.call("daemon.drain")
    answer = web.get("/readyz")
    assert (answer.status, answer.slug) == (503, "not_ready")
    assert web.get("/healthz").status == 200
    assert web.post("/events", {"id": "e", "type": "t"}).status == 202


def test_it_is_off_unless_asked_for_and_stops_with_the_daemon(place: Workspace) -> None:
    place.start()
    assert "http" not in place.call("daemon.status")
    assert place.stop() == 0
    place.flow("hold", f"while [ ! -e go ]; do sleep 0.02; done; {say('changed')}", trigger="hold.go")
    web = HttpPlace(place).start(FLOWD_ON_STOP="keep")
    run_id = web.post("/events", {"id": "held", "type": "hold.go"}).json["runIds"][0]
    followers = [http.client.HTTPConnection("127.0.0.1", web.port, timeout=20) for _ in range(2)]
    for follower, path in zip(followers, ("/stream", f"/runs/{run_id}/output?follow=1"), strict=True):
        follower.request("GET", path)
    stream, output = (follower.getresponse() for follower in followers)
    assert (stream.status, output.status) == (200, 200)
    assert place.stop() == 0
    assert stream.read().startswith(b"retry: ")  # whole: its reader comes back
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):  # the attempt has not ended
        output.read()
    for follower in followers:
        follower.close()
    with pytest.raises(OSError, match="refused"):
        web.get("/healthz")


def test_it_listens_on_a_unix_socket_for_its_owner_only(place: Workspace) -> None:
    path = place.path / "http.sock"
    place.start(FLOWD_HTTP=f"unix:{path}")
    assert path.stat().st_mode & 0o777 == 0o600
    assert json.loads(curl("--unix-socket", str(path), "http://anything/healthz")) == {"ok": True}
    place.kill()
    place.start(FLOWD_HTTP=f"unix:{path}")  # over the socket that was left behind
    assert json.loads(curl("--unix-socket", str(path), "http://anything/healthz")) == {"ok": True}


def test_lists_carry_the_end_of_the_output_where_it_is_asked_for(web: HttpPlace) -> None:
    web.place.flow("wordy", f"head -c 5000 /dev/zero | tr '\\0' x; echo end; echo err >&2; {say('completed')}")
    web.place.call("daemon.reload")
    web.post("/events?wait=true", {"id": "tail", "type": "wordy.go"})
    (bare,) = web.get("/runs?eventId=tail").json["runs"]
    assert "output" not in bare
    (run,) = web.get("/runs?eventId=tail&output=tail").json["runs"]
    texts = {entry["kind"]: entry["text"] for entry in run["output"]}
    assert (len(texts["stdout"]), "end\n" in texts["stdout"], texts["stderr"]) == (4096, True, "err\n")
    assert run["outputTruncated"] is True
    assert web.get("/runs?output=all").slug == "invalid_params"
    with web.place.client() as client:
        (view,) = client.list_runs(event_id="tail", output="tail").items
        assert [entry.kind for entry in view.output] == ["stdout", "stderr"]


@pytest.mark.parametrize(
    ("members", "word"),
    [({"data": {"n": 1}}, "payload"), ({"data": 1, "specversion": "1.0"}, "cloudevents+json")],
)
def test_an_event_with_data_in_place_of_a_payload_is_told_of(web: HttpPlace, members: dict, word: str) -> None:
    event = {"id": f"data-{word}", "type": "t", **members}
    answer = web.post("/events", event)
    assert (answer.status, word in answer.json["warning"]) == (202, True)
    assert word in web.place.call("flow.dispatch", event={**event, "id": f"again-{word}"})["warning"]
    fine = web.post("/events", {**event, "id": f"fine-{word}", "payload": {}})
    assert "warning" not in fine.json
