"""A backup beside a daemon that works: a consistent past, from which another daemon goes on."""

import json
import shutil
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import postgres_rig
import pytest
from daemon_rig import Workspace, about_the_file, flowd, flowd_says, say, until, workspace

CHECKOUT = Path(__file__).parents[2]
BIG = f'echo "$CODEX_FLOW_EVENT_ID" >> ran; seq -f "line %09.0f" 8000; {say("changed")}'
HELD = f'echo "$CODEX_FLOW_EVENT_ID" >> ran; while [ ! -e go ]; do sleep 0.02; done; {say("changed")}'


class Sender:
    """Sends event after event, and notes which are acknowledged."""

    def __init__(self, place: Workspace, flow: str, name: str) -> None:
        self.acknowledged: list[str] = []
        self._place, self._flow, self._name = place, flow, name
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._send)

    def _send(self) -> None:
        with self._place.client() as client:
            number = 0
            while not self._is_over.is_set():
                number += 1
                event_id = f"{self._name}{number}"
                client.call("flow.dispatch", {"event": {"id": event_id, "type": f"{self._flow}.go", "payload": {}}})
                self.acknowledged.append(event_id)
                self._is_over.wait(0.03)

    def __enter__(self) -> "Sender":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join(60)


@contextmanager
def another(place: Workspace) -> Iterator[Workspace]:
    """Another workspace with the same packages, in which nothing ran yet."""
    with workspace() as it:
        shutil.copytree(place.path / "flows", it.path / "flows", ignore=shutil.ignore_patterns("ran", "go"))
        yield it


def ran(place: Workspace, flow: str) -> Counter[str]:
    """How often there was a step for each event."""
    path = place.path / "flows" / flow / "ran"
    return Counter(path.read_text().split() if path.exists() else [])


@about_the_file
def test_a_backup_under_load_is_a_past_from_which_each_run_that_waited_runs_once(tmp_path: Path) -> None:
    backup = tmp_path / "backup.tar"
    with workspace() as place:
        place.flow("big", BIG)
        place.flow("held", HELD)
        place.start(FLOWD_MAX_PARALLEL="2")
        place.call("flow.dispatch", event={"id": "held", "type": "held.go", "payload": {}})
        with Sender(place, "big", "a") as one, Sender(place, "big", "b") as two:
            until(lambda: len(one.acknowledged) > 20 and place.call("daemon.status")["runs"]["completed"] > 5)
            before = [*one.acknowledged, *two.acknowledged]
            made = json.loads(flowd_says(place, "backup", str(backup), "--json"))
            until(lambda: len(one.acknowledged) + len(two.acknowledged) > len(before) + 20)
        assert made["missing"] == []
        flowd_says(place, "backup", "--verify", str(backup))

        with another(place) as there:
            restored = json.loads(flowd_says(there, "restore", str(backup), "--json"))
            assert (restored["events"], restored["runs"]) == (made["events"], made["runs"])
            there.start()
            until(lambda: unfinished(there) == 0)
            events = {event["id"] for event in pages(there, "flow.listEvents", "events")}
            runs = pages(there, "flow.listRuns", "runs")
            assert {*before, "held"} <= events
            assert len(runs) == len(events) == made["events"]
            interrupted = {run["eventId"] for run in runs if run.get("reason") == "interrupted"}
            assert "held" in interrupted
            # What was recorded as ended, or ran, is not begun again; what waited has run once.
            waited = {run["eventId"] for run in runs if run["eventId"] in ran(there, "big")}
            assert set(ran(there, "big").values()) <= {1}
            assert len(waited) == restored["queued"]
            assert not ran(there, "held")
            done = [run for run in runs if run["status"] == "completed" and run["flowName"] == "big"]
            assert len(done) == len(runs) - len(interrupted)
            assert flowd_says(there, "logs", done[0]["id"]).count("line ") == 8000
        (place.path / "flows/held/go").touch()
        assert place.stop() == 0


def unfinished(place: Workspace) -> int:
    runs = place.call("daemon.status")["runs"]
    return int(runs["queued"] + runs["running"])


def pages(place: Workspace, method: str, member: str) -> list[dict[str, str]]:
    """All of a list."""
    found: list[dict[str, str]] = []
    cursor = None
    while True:
        page = place.call(method, limit=500, **({"cursor": cursor} if cursor else {}))
        found += page[member]
        cursor = page.get("nextCursor")
        if not cursor:
            return found


@about_the_file
def test_a_restore_is_refused_over_a_daemon_and_over_steps_that_it_has_left_behind(
    place: Workspace, tmp_path: Path
) -> None:
    place.flow("held", HELD)
    place.start(FLOWD_ON_STOP="keep")
    flowd_says(place, "backup", str(tmp_path / "b.tar"))
    place.call("flow.dispatch", event={"id": "e", "type": "held.go", "payload": {}})
    until(lambda: ran(place, "held"))
    running = flowd(place, "restore", str(tmp_path / "b.tar"), "--replace")
    assert (running.returncode, "Restoring needs it stopped" in running.stderr) == (5, True), running.stderr
    assert place.stop() == 0
    left = flowd(place, "restore", str(tmp_path / "b.tar"), "--replace")
    assert (left.returncode, "still run" in left.stderr) == (5, True), left.stderr
    (place.path / "flows/held/go").touch()
    place.start()
    until(lambda: place.call("daemon.status")["runs"]["completed"] == 1)
    assert place.stop() == 0
    said = flowd_says(place, "restore", str(tmp_path / "b.tar"), "--replace")
    assert "has 0 events and 0 runs again" in said
    place.start()
    assert place.call("daemon.status")["runs"]["completed"] == 0


@pytest.mark.parametrize("name", ["flowd-backup.service", "flowd-backup.timer"])
def test_the_units_that_are_shown_are_those_that_are_there(name: str) -> None:
    text = (CHECKOUT / "docs/keeping.md").read_text(encoding="utf-8")
    shown = text.partition(f"systemd/examples/{name}")[2].partition("```ini\n")[2].partition("```")[0]
    unit = (CHECKOUT / "systemd/examples" / name).read_text(encoding="utf-8")
    assert [
        line for line in unit.splitlines() if not line.startswith("# /etc") and "seven" not in line
    ] == shown.splitlines()


@about_the_file
def test_a_backup_goes_through_a_pipe(place: Workspace) -> None:
    place.flow("small", f"echo hello; {say('changed')}")
    place.start()
    run = place.call("flow.dispatch", event={"id": "e", "type": "small.go", "payload": {}}, wait=True)["runs"][0]
    with another(place) as there:
        command = f"{sys.executable} -m flowd"
        piped = f"{command} backup - -w '{place.path}' | gzip | {command} restore - -w '{there.path}' --json"
        done = subprocess.run(["sh", "-c", piped], capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")
        assert json.loads(done.stdout)["runs"] == 1
        there.start()
        assert "hello" in flowd_says(there, "logs", run["id"])


@pytest.mark.parametrize("words", [["backup", "-", "--json"], ["backup", "--verify", "--force", "x"]])
def test_what_makes_no_sense_is_told(place: Workspace, words: list[str]) -> None:
    place.start()
    assert flowd(place, *words).returncode == 2


@about_the_file
def test_what_ran_is_interrupted_and_what_waited_runs_once_in_a_shared_store(place: Workspace, tmp_path: Path) -> None:
    place.flow("held", HELD)
    place.start(FLOWD_MAX_PARALLEL="1")
    for event_id in ("one", "two"):
        place.call("flow.dispatch", event={"id": event_id, "type": "held.go", "payload": {}})
    until(lambda: ran(place, "held"))
    flowd_says(place, "backup", str(tmp_path / "b.tar"))
    with another(place) as there:
        there.store = postgres_rig.workspace_store()
        said = flowd_says(there, "restore", str(tmp_path / "b.tar"))
        assert "1 run that ran then" in said
        assert "1 run that waited then" in said
        (there.path / "flows/held/go").touch()
        there.start()
        until(lambda: unfinished(there) == 0)
        runs = {run["eventId"]: run for run in there.call("flow.listRuns")["runs"]}
        assert (runs["one"]["reason"], runs["two"]["effectiveStatus"]) == ("interrupted", "changed")
        assert ran(there, "held") == {"two": 1}
        assert there.stop() == 0
        postgres_rig.drop(there.store)
    (place.path / "flows/held/go").touch()
    assert place.stop() == 0
