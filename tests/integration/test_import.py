"""``flowd import``: what the reference system remembered is there afterwards, once, and truthfully."""

import json
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

from command_copy import run_flowd
from daemon_rig import Workspace, say, until

from flowd.domain.ids import run_id

EVENT_ID = "patch:upstream.release:openai/codex:rust-v1.2.3"
COLUMNS = {
    "flow_events": "id type source occurred_at received_at payload_json raw_json created_at",
    "flow_runs": "id event_id flow_name step_name status backend executor unit event_path command_json result_json"
    " stdout stderr error created_at started_at completed_at",
}


def database(path: Path, *, events: list[dict[str, Any]], runs: list[dict[str, Any]]) -> Path:
    """The reference backend's file: columns are the record's fields in snake_case, no version, rollback journal."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as db:
        for table, rows in (("flow_events", events), ("flow_runs", runs)):
            names = COLUMNS[table].split()
            db.execute(f"CREATE TABLE {table} (id TEXT PRIMARY KEY, {', '.join(f'{name} TEXT' for name in names[1:])})")
            for row in rows:
                values = [row.get(name) for name in names]
                db.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(names))})", values)
        db.commit()
    return path


def at(second: int) -> str:
    return f"2026-05-{10 + second // 60:02}T10:00:{second % 60:02}.250Z"


def event(event_id: str, second: int = 0, **payload: Any) -> dict[str, Any]:
    raw = {"id": event_id, "type": "hello.go", "source": "patch", "receivedAt": at(second), "payload": payload, "x": 1}
    return {
        "id": event_id, "type": "hello.go", "source": "patch", "received_at": at(second), "created_at": at(second),
        "payload_json": json.dumps(payload), "raw_json": json.dumps(raw),
    }  # fmt: skip


def run(event_id: str, status: str, second: int = 1, *, says: str | None = None, **more: Any) -> dict[str, Any]:
    report = {"flow": "hello", "step": "main", "result": {"status": says, "artifacts": {"n": 1}}}
    row = {
        "id": run_id(event_id, "hello", "main"), "event_id": event_id, "flow_name": "hello", "step_name": "main",
        "status": status, "backend": "workspace-local", "executor": "direct", "event_path": "/e.json",
        "command_json": json.dumps(["bun", "/runner.ts", "--cwd", "/w", "run", "hello", "main"]),
        "result_json": None if says is None else json.dumps(report),
        "stdout": None if says is None else json.dumps(report), "stderr": "log line\n",
        "created_at": at(second), "started_at": at(second), "completed_at": at(second + 2),
    }  # fmt: skip
    if status in ("running", "queued"):
        row |= {"completed_at": None, "stdout": None, "stderr": None}
    return row | more


def flowd(place: Workspace, *args: str) -> "subprocess.CompletedProcess[str]":
    return run_flowd(*args, "-w", place.path)


def imported(place: Workspace, *args: str) -> dict[str, Any]:
    done = flowd(place, "import", *args, "--json")
    assert done.returncode == 0, done.stderr
    (file,) = json.loads(done.stdout)["files"]
    return dict(file)


def test_events_and_runs_of_the_backend_are_there_with_their_ids_instants_results_and_output(place: Workspace) -> None:
    place.flow("hello", f"echo ran >>ran; {say('completed')}")
    file = database(
        place.path / ".codex/flow-backend/flow-backend.sqlite",
        events=[event(EVENT_ID, tag="rust-v1.2.3")],
        runs=[run(EVENT_ID, "completed", says="blocked")],
    )
    assert imported(place) == {
        "path": str(file), "kind": "sqlite", "events": 1, "runs": 1, "knownEvents": 0, "knownRuns": 0,
        "interrupted": 0, "withNext": 0, "skipped": [],
    }  # fmt: skip
    place.start()
    view = place.call("flow.getRun", runId=run_id(EVENT_ID, "hello", "main"))["run"]
    # The reference system showed this run as completed: its report hid what the step had said.
    assert (view["status"], view["effectiveStatus"], view["needsAttention"]) == ("completed", "blocked", True)
    assert view["result"] == {"status": "blocked", "artifacts": {"n": 1}}
    assert (view["createdAt"], view["startedAt"], view["completedAt"]) == (at(1), at(1), at(3))
    assert (view["attemptCount"], view["attempts"][0]["command"][0]) == (1, "bun")
    assert [entry["text"] for entry in view["output"]][1] == "log line\n"
    stored = place.call("flow.getEvent", eventId=EVENT_ID)["event"]
    assert (stored["payload"], stored["raw"]["x"], stored["receivedAt"]) == ({"tag": "rust-v1.2.3"}, 1, at(0))
    # A sender that sends it again, as it did, gets the runs of then, and nothing runs.
    again = place.call("flow.dispatch", event=stored["raw"], wait=True)
    assert (again["status"], again["runIds"]) == ("duplicate", [view["id"]])
    assert "conflict" not in again
    assert not (place.path / "flows/hello/ran").exists()
    # What it asked can be answered here.
    assert [one["run"]["id"] for one in place.call("flow.attention")["questions"]] == [view["id"]]
    answered = place.call("flow.resolveRun", runId=view["id"], status="completed")["run"]
    assert (answered["effectiveStatus"], answered["result"]["artifacts"]) == ("completed", {"n": 1})
    # And a replay runs it for real, beside the old run.
    replay = place.call("flow.replay", eventId=EVENT_ID, wait=True)
    assert [run["replayOf"] for run in replay["runs"]] == [view["id"]]


STATUSES = {
    ("completed", "changed"): ("completed", "changed", None),
    ("completed", None): ("completed", "completed", None),
    ("failed", None): ("failed", "failed", None),
    ("failed", "needs_intervention"): ("failed", "needs_intervention", None),
    ("failed", "completed"): ("failed", "failed", None),
    ("canceled", None): ("canceled", "canceled", "canceled"),
    ("running", None): ("failed", "failed", "interrupted"),
    ("queued", None): ("failed", "failed", "interrupted"),
}
"""What a run is, by its status in the old file and what it had said."""


def test_every_status_becomes_a_true_one(place: Workspace) -> None:
    place.flow("hello", f"echo ran >>ran; {say('completed')}")
    names = {f"{status} {says}": (status, says) for status, says in STATUSES}
    runs = [run(name, status, says=says) for name, (status, says) in names.items()]
    database(place.path / "old.sqlite", events=[event(name) for name in names], runs=runs)
    summary = imported(place, str(place.path / "old.sqlite"))
    assert (summary["runs"], summary["interrupted"]) == (len(STATUSES), 2)
    place.start()
    for name, (status, says) in names.items():
        (view,) = place.call("flow.listRuns", eventId=name)["runs"]
        assert (view["status"], view["effectiveStatus"], view.get("reason")) == STATUSES[status, says], name
        assert ("reportedResult" in view) == (status == "failed" and says == "completed"), name
    # What was left running there is not started here.
    assert place.call("daemon.status")["runs"] | {"queued": 0, "running": 0} == place.call("daemon.status")["runs"]
    assert not (place.path / "flows/hello/ran").exists()


def test_an_interrupted_run_can_be_retried_with_the_package_of_now(place: Workspace) -> None:
    place.flow("hello", say("changed"))
    database(
        place.path / "old.sqlite",
        events=[event("e"), event("f")],
        runs=[run("e", "running"), run("f", "failed", flow_name="gone", id="run_gone")],
    )
    imported(place, str(place.path / "old.sqlite"))
    place.start()
    run_ = place.call("flow.retryRun", runId=run_id("e", "hello", "main"))["run"]
    assert place.call("flow.waitRun", runId=run_["id"])["run"]["effectiveStatus"] == "changed"
    place.call("flow.retryRun", runId="run_gone")

    def waiting_for() -> object:
        return place.call("flow.getRun", runId="run_gone")["run"].get("waitingFor")

    until(lambda: waiting_for() == {"package": "gone"}, what="a run that waits")
    place.flow("gone", say("changed"))
    assert place.call("flow.waitRun", runId="run_gone")["run"]["effectiveStatus"] == "changed"


def test_an_import_can_be_repeated_and_finds_what_was_added(place: Workspace) -> None:
    events = [event(f"e{n}", n) for n in range(450)]
    runs = [run(f"e{n}", "completed", n, says="changed") for n in range(450)]
    database(place.path / "one.sqlite", events=events[:300], runs=runs[:250])
    database(place.path / "two.sqlite", events=events, runs=runs)
    first = imported(place, str(place.path / "one.sqlite"))
    assert (first["events"], first["runs"]) == (300, 250)
    second = imported(place, str(place.path / "two.sqlite"))
    assert (second["events"], second["knownEvents"], second["runs"], second["knownRuns"]) == (150, 300, 200, 250)
    third = imported(place, str(place.path / "two.sqlite"))
    assert (third["events"], third["runs"], third["knownEvents"], third["knownRuns"]) == (0, 0, 450, 450)
    place.start()
    status = place.call("daemon.status")
    assert (status["events"], status["runs"]["completed"]) == (450, 450)


def test_imported_history_is_older_than_what_flowd_accepted_and_pages_through(place: Workspace) -> None:
    place.flow("hello", say("completed"))
    place.start()
    place.call("flow.dispatch", event={"id": "own", "type": "hello.go"}, wait=True)
    place.stop()
    names = [f"e{n}" for n in range(5)]
    runs = [run(name, "completed", n, says="changed") for n, name in enumerate(names)]
    database(place.path / "old.sqlite", events=[event(name, n) for n, name in enumerate(names)], runs=runs)
    imported(place, str(place.path / "old.sqlite"))
    place.start()
    for method, key in (("flow.listEvents", "events"), ("flow.listRuns", "runs")):
        seen: list[str] = []
        cursor: dict[str, str] = {}
        while True:
            page = place.call(method, limit=2, **cursor)
            seen += [item.get("eventId", item["id"]) for item in page[key]]
            if "nextCursor" not in page:
                break
            cursor = {"cursor": page["nextCursor"]}
        assert seen == ["own", *reversed(names)]


def state(*, status: str = "blocked", **more: Any) -> dict[str, Any]:
    """The reference local client's snapshot; a view's status is the effective one."""
    view = {
        "id": run_id("e", "hello", "main"), "eventId": "e", "flowName": "hello", "flowVersion": 2, "stepName": "main",
        "backend": "local", "runner": "bun", "status": status, "processStatus": "completed", "resultStatus": status,
        "effectiveStatus": status, "attemptCount": 1, "output": [], "resultPayload": {"status": status, "k": "v"},
        "createdAt": at(1), "startedAt": at(1), "completedAt": at(2), "updatedAt": at(2),
        "raw": {"kind": "local-run", "flowRoot": "/w/flows/hello"},
    }  # fmt: skip
    replay = {**view, "id": "run_0123456789ab_replay", "createdAt": at(5)}
    ids = [view["id"], replay["id"]]
    stored = {"event": {"id": "e", "type": "hello.go", "receivedAt": at(0)}, "createdAt": at(0), "runIds": ids}
    return {"events": [stored], "runs": [view, replay]} | more


def test_the_local_clients_state_is_imported_with_its_replays(place: Workspace) -> None:
    folder = place.path / ".codex/flow-client"
    folder.mkdir(parents=True)
    (folder / "state.json").write_text(json.dumps(state()))
    assert imported(place, str(folder))["runs"] == 2
    place.start()
    replay, first = place.call("flow.listRuns", eventId="e")["runs"]
    assert replay["id"].endswith("_replay")
    assert replay["replayOf"] == first["id"]
    assert (first["flowVersion"], first["runner"], first["effectiveStatus"]) == (2, "bun", "blocked")
    assert first["result"] == {"status": "blocked", "k": "v"}


def test_a_dry_run_counts_and_writes_nothing(place: Workspace) -> None:
    database(place.path / "old.sqlite", events=[event("e")], runs=[run("e", "running")])
    summary = imported(place, "--dry-run", str(place.path / "old.sqlite"))
    assert (summary["events"], summary["runs"], summary["interrupted"]) == (1, 1, 1)
    said = flowd(place, "import", "--dry-run", str(place.path / "old.sqlite")).stdout
    assert "would import 1 event and 1 run" in said
    place.start()
    assert place.call("daemon.status")["events"] == 0


def test_what_no_one_has_sent_of_a_next_is_told_and_not_sent_now(place: Workspace) -> None:
    said = run("e", "completed", says="completed")
    report = json.loads(said["result_json"])
    report["result"]["next"] = [{"type": "hello.go"}]
    said["result_json"] = said["stdout"] = json.dumps(report)
    file = str(database(place.path / "old.sqlite", events=[event("e")], runs=[said]))
    assert (
        "1 result has a next, which the reference system never sent" in flowd(place, "import", "--dry-run", file).stdout
    )
    assert imported(place, file)["withNext"] == 1
    place.start()
    assert place.call("daemon.status")["events"] == 1


def bad_files(folder: Path) -> dict[str, Path]:
    """Each shape that is none of the two, by what the refusal says of it."""
    (folder / "text").write_text("no")
    (folder / "list.json").write_text("[]")
    (folder / "runs.json").write_text('{"events": [], "runs": 7}')
    (folder / "event.json").write_text('{"events": [{"id": "e"}], "runs": []}')
    with closing(sqlite3.connect(folder / "other.sqlite")) as db:
        db.execute("CREATE TABLE things (id)")
    with closing(sqlite3.connect(folder / "thin.sqlite")) as db:
        db.execute("CREATE TABLE flow_events (id, type, created_at)")
        db.execute("CREATE TABLE flow_runs (id, event_id)")
    whole = database(folder / "whole.sqlite", events=[event(f"e{n}") for n in range(99)], runs=[]).read_bytes()
    (folder / "cut.sqlite").write_bytes(whole[:8192] + b"x" * 8192)
    return {
        "neither SQLite nor JSON": folder / "text",
        '"events" is not a list': folder / "list.json",
        '"runs" is not a list': folder / "runs.json",
        "events[0] has no event": folder / "event.json",
        "no table flow_events": folder / "other.sqlite",
        "flow_runs has no column": folder / "thin.sqlite",
        "cannot be read as a database": folder / "cut.sqlite",
    }


def test_unknown_shapes_are_refused_with_file_and_reason(place: Workspace) -> None:
    for reason, file in bad_files(place.path).items():
        done = flowd(place, "import", str(file))
        assert done.returncode == 2, (reason, done.stderr)
        assert str(file) in done.stderr
        assert reason in done.stderr


def test_a_bad_record_refuses_all_files_before_anything_is_written(place: Workspace) -> None:
    good = database(place.path / "good.sqlite", events=[event("good")], runs=[])
    rows = [run("e", "completed"), run("e", "sideways", id="run_bad"), run("nowhere", "failed")]
    bad = database(place.path / "bad.sqlite", events=[event("e"), event("f", source="x")], runs=rows)
    done = flowd(place, "import", str(good), str(bad))
    assert done.returncode == 2
    for said in (str(bad), "'run_bad'", "sideways", "belongs to an event that is not in the file", "--skip-bad"):
        assert said in done.stderr
    summary = imported(place, "--skip-bad", str(bad))
    assert (summary["events"], summary["runs"], len(summary["skipped"])) == (2, 1, 2)
    place.start()
    assert {item["id"] for item in place.call("flow.listEvents")["events"]} == {"e", "f"}
    assert [item["id"] for item in place.call("flow.listRuns")["runs"]] == [run_id("e", "hello", "main")]


def test_secrets_that_systemd_run_was_given_stay_behind(place: Workspace) -> None:
    command = json.dumps(["systemd-run", "--user", "--setenv=TOKEN=hunter2", "--setenv=A=b\nhunter2", "bun"])
    runs = [run("e", "completed", command_json=command, executor="systemd-run")]
    imported(place, str(database(place.path / "old.sqlite", events=[event("e")], runs=runs)))
    place.start()
    attempt = place.call("flow.getRun", runId=run_id("e", "hello", "main"))["run"]["attempts"][0]
    assert attempt["command"] == ["systemd-run", "--user", "--setenv=TOKEN=…", "--setenv=A=…", "bun"]
    assert attempt["workerId"] == "imported:systemd-run"
    assert b"hunter2" not in (place.path / ".codex/flowd/flowd.db").read_bytes()


def test_beside_a_running_daemon_it_is_refused(place: Workspace) -> None:
    file = database(place.path / "old.sqlite", events=[event("e")], runs=[])
    place.start()
    done = flowd(place, "import", str(file))
    assert done.returncode == 5
    assert "has to be stopped" in done.stderr
    assert place.call("daemon.status")["events"] == 0


def test_without_a_path_and_without_state_it_says_what_it_looked_for(place: Workspace) -> None:
    done = flowd(place, "import")
    assert done.returncode == 4
    assert "flow-backend.sqlite" in done.stderr


def test_two_events_whose_runs_have_one_id_are_both_imported_once(place: Workspace) -> None:
    twins = ["c:25885328", "c:45211452"]
    runs = [{**run(twin, "completed"), "flow_name": "stubborn", "step_name": "s"} for twin in twins]
    for one, twin in zip(runs, twins, strict=True):
        one["id"] = run_id(twin, "stubborn", "s")
    files = [
        database(place.path / f"{n}.sqlite", events=[event(twin, n)], runs=[one])
        for n, (twin, one) in enumerate(zip(twins, runs, strict=True))
    ]
    for expected in (1, 0):  # a second time changes nothing
        assert [imported(place, str(file))["runs"] for file in files] == [expected, expected]


ODD = ["../../../owned", "/abs/owned", ".hidden", "a/../../b", "x" * 400, "50%2F..%2Fowned", "a\nb"]


def test_an_imported_runs_id_is_no_path(place: Workspace) -> None:
    place.flow("hello", f"head -c 70000 /dev/zero | tr '\\0' x; {say('changed')}", trigger="hello.go")
    state = {
        "events": [
            {"event": {"id": f"e{n}", "type": "hello.go", "payload": {}}, "createdAt": at(0), "runIds": [odd]}
            for n, odd in enumerate(ODD)
        ],
        "runs": [
            {"id": odd, "eventId": f"e{n}", "flowName": "hello", "stepName": "main", "status": "failed",
             "createdAt": at(1)}
            for n, odd in enumerate(ODD)
        ],
    }  # fmt: skip
    (place.path / "state.json").write_text(json.dumps(state))
    done = flowd(place, "import", str(place.path / "state.json"))
    assert done.returncode == 0, done.stderr
    before = {path for path in place.path.rglob("*") if not path.is_relative_to(place.path / ".codex/flowd")}
    place.start()
    for odd in ODD:
        place.call("flow.retryRun", runId=odd)
        assert place.call("flow.waitRun", runId=odd)["run"]["effectiveStatus"] == "changed"
        read = place.call("flow.readOutput", runId=odd, stream="stdout", offset=0, maxBytes=5)
        assert read["text"] == "xxxxx"
    output = place.path / ".codex/flowd/output"
    assert {path.parent for path in place.path.rglob("*.stdout")} == {output}
    after = {path for path in place.path.rglob("*") if not path.is_relative_to(place.path / ".codex/flowd")}
    assert after - before <= {place.path / "daemon.log"}
    assert place.call("daemon.prune", olderThanMs=60_000)["runs"] == 0, "it is of now"


def test_prune_forgets_what_was_imported_even_what_had_no_end(place: Workspace) -> None:
    source = database(
        place.path / "old.sqlite",
        events=[event("one"), event("two", 10), event("new", 20)],
        runs=[run("one", "completed", says="changed"), run("two", "running", 11)],
    )
    assert flowd(place, "import", str(source)).returncode == 0
    place.flow("hello", say("changed"), trigger="hello.go")
    place.start()
    place.call("flow.dispatch", event={"id": "now", "type": "hello.go", "payload": {}}, wait=True)
    forgotten = place.call("daemon.prune", olderThanMs=86_400_000)
    assert (forgotten["events"], forgotten["runs"]) == (3, 2)
    assert [each["id"] for each in place.call("flow.listEvents")["events"]] == ["now"]


def test_an_id_that_an_attempt_would_have_is_left_out(place: Workspace) -> None:
    source = database(
        place.path / "old.sqlite", events=[event("one")], runs=[{**run("one", "failed"), "id": "run_1:2"}]
    )
    done = flowd(place, "import", str(source))
    assert done.returncode == 2
    assert "has an id that an attempt of another run would have" in done.stderr
