"""What the command line says where nothing happens, or something else than was meant: no match, a duplicate, names that
nothing has, a drain; and how a dispatch that is followed ends."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_rig import command
from daemon_rig import Workspace, flowd, flowd_says, until, workspace
from http_rig import HttpPlace

from flowd.cli.printing import took
from flowd_client import create_flow_client
from flowd_client.errors import ConflictError


def begin(place: Workspace) -> Workspace:
    """Flows ``ship``, which ends well and causes ``bad``, and ``bad``, which fails."""
    result = {"status": "changed", "next": [{"id": "caused", "type": "bad.go", "payload": {}}]}
    place.flow("ship", f"echo shipped; echo 'FLOW_RESULT {json.dumps(result)}'")
    place.flow("bad", "echo why >&2; exit 3")
    place.start()
    return place


@pytest.fixture
def busy(place: Workspace) -> Workspace:
    return begin(place)


@pytest.fixture(scope="module")
def still() -> Iterator[Workspace]:
    """The same, in which nothing happens."""
    with workspace() as place:
        yield begin(place)


def test_a_followed_dispatch_prints_the_whole_tree_and_ends_with_how_it_ended(busy: Workspace) -> None:
    done = flowd(busy, "dispatch", "--id", "e", "--type", "ship.go", "--follow")
    (caused,) = busy.call("flow.listRuns", eventId="caused")["runs"]
    assert done.returncode == 1
    assert [line.split(" | ")[1] for line in done.stdout.splitlines() if "FLOW_RESULT" not in line] == ["shipped"]
    told = done.stderr.splitlines()
    assert told[0] == "accepted e: 1 run"
    assert "bad/main  | why" in told or "bad/main | why" in told
    ended = f"flowd: bad/main ({caused['id']}) failed in {took(caused['durationMs'])}, exit code 3: why"
    assert told[-2:] == [ended, "flowd: 2 runs: 1 changed, 1 failed"]
    assert any(re.fullmatch(r"flowd: ship/main \(run_\w+\) changed in \w+, exit code 0", line) for line in told)
    assert told.count(ended) == 2  # as it came, and at last
    alone = flowd(busy, "dispatch", "--id", "e2", "--type", "ship.go", "--follow", "--only")
    assert alone.returncode == 0
    _, only = alone.stderr.splitlines()
    assert re.fullmatch(r"flowd: ship/main \(run_\w+\) changed in [\w.]+, exit code 0", only)
    assert flowd(busy, "dispatch", "--type", "ship.go", "--follow", "--json").returncode == 2


def test_a_followed_dispatch_tells_each_attempt_behind_which_another_comes(place: Workspace, tmp_path: Path) -> None:
    script = "echo no input >&2; while [ ! -e go ]; do sleep 0.02; done; exit 3"
    place.flow("poor", script, step="[steps.retry]\nmax_attempts = 2\ndelay_ms = 10")
    place.start()
    with command(place, tmp_path, "dispatch", "--type", "poor.go", "--follow") as follower:
        until(lambda: "poor/main | no input" in follower.err, what="the first attempt's output")
        (place.path / "flows/poor/go").touch()
        assert follower.process.wait(60) == 1
        _, first, attempt, second, end = follower.err
    (run,) = place.call("flow.listRuns")["runs"]
    name = f"flowd: poor/main ({run['id']})"
    assert first == second == "poor/main | no input"
    told = rf"{re.escape(name)} attempt 1 failed in [\w.]+: no input \(exit code 3\); .*attempt 2.*"
    assert re.fullmatch(told, attempt)
    assert end == f"{name} failed after 2 attempts in {took(run['durationMs'])}, exit code 3: no input"


def test_an_event_that_must_match_is_refused_before_it_is_stored(busy: Workspace) -> None:
    done = flowd(busy, "dispatch", "--id", "e", "--type", "ship.goo", "--require-match")
    assert (done.returncode, done.stdout) == (5, "")
    assert done.stderr.splitlines()[:2] == [
        "flowd: No step matches event e of type ship.goo, so nothing was stored. Nearest:",
        "  ship/main: waits for type ship.go, not ship.goo",
    ]
    assert busy.call("flow.listEvents")["events"] == []
    assert flowd(busy, "dispatch", "--id", "e", "--type", "ship.goo").returncode == 0
    # What is stored already is a duplicate all the same: sending it twice changes nothing.
    assert "duplicate" in flowd_says(busy, "dispatch", "--id", "e", "--type", "ship.goo", "--require-match", code=5)
    assert "accepted f: 1 run" in flowd_says(busy, "dispatch", "--id", "f", "--type", "ship.go", "--require-match")


def test_an_event_that_must_match_is_refused_through_every_door(place: Workspace, tmp_path: Path) -> None:
    web = HttpPlace(place).start()
    asked = {"id": "e", "type": "nobody.go", "payload": {}}
    with create_flow_client(mode="http", base_url=web.url) as by_http, web.place.client() as by_socket:
        for client in (by_http, by_socket):
            with pytest.raises(ConflictError) as caught:
                client.dispatch_event(asked, require_match=True)
            assert (caught.value.slug, caught.value.data["eventId"]) == ("no_match", "e")
    wrapped = web.send("POST", "/events", {"event": asked, "requireMatch": True})
    assert (wrapped.status, wrapped.json["slug"]) == (409, "no_match")
    assert web.place.call("flow.listEvents")["events"] == []
    with create_flow_client(mode="local", workspace=tmp_path) as local, pytest.raises(ConflictError):
        local.dispatch_event(asked, require_match=True)


def test_a_duplicate_says_how_to_run_it_again(busy: Workspace) -> None:
    flowd_says(busy, "dispatch", "--id", "e 1", "--type", "ship.go", "--wait", code=1)
    done = flowd(busy, "dispatch", "--id", "e 1", "--type", "ship.go")
    assert "known already with 1 run, nothing started" in done.stdout
    assert done.stderr == f"flowd: To run it again: flowd replay 'e 1' -w {busy.path}\n"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["runs", "--flow", "shp"], "There is no flow 'shp'. Did you mean 'ship'?"),
        (["runs", "--flow", "ship", "--step", "mian"], "There is no step 'mian' of flow 'ship'. Did you mean 'main'?"),
        (
            ["events", "--type", "shp.go"],
            "No step waits for type 'shp.go', and no event has it. Did you mean 'ship",
        ),
        (["events", "--flow", "shp"], "There is no flow 'shp'."),
        (["runs", "--event", "shp"], "Unknown event: shp."),
        (["runs", "--host", "shp"], "There is no host 'shp'"),
        (["queue", "--flow", "shp"], "There is no flow 'shp'."),
        (["pause", "shp"], "Unknown flow: shp. Did you mean 'ship'?"),
        (["schedules", "shp"], "Unknown flow: shp. Did you mean 'ship'?"),
        (["flows", "shp"], "Unknown flow: shp. Did you mean 'ship'?"),
        (["attention", "--flow", "shp"], "There is no flow 'shp'."),
        (["cancel", "--flow", "shp"], "There is no flow 'shp'."),
        (["replay", "--type", "shp.go"], "No step waits for type 'shp.go'"),
    ],
)
def test_names_that_nothing_has_are_told_with_what_was_perhaps_meant(
    still: Workspace, words: list[str], told: str
) -> None:
    assert told in flowd_says(still, *words, code=4)


def test_what_is_known_and_empty_is_empty_and_programs_get_their_list(busy: Workspace) -> None:
    assert flowd(busy, "runs", "--flow", "ship").stderr == "No runs.\n"
    assert flowd(busy, "events", "--type", "ship.go").stderr == "No events.\n"
    done = flowd(busy, "runs", "--flow", "shp", "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, {"runs": []})
    assert "Did you mean 'ship'?" in done.stderr
    done = flowd(busy, "runs", "--event", "no-such", "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, {"runs": [], "eventId": "no-such"})
    assert "Unknown event: no-such." in done.stderr
    assert "there is no status 'faild'. Did you mean 'failed'?" in flowd_says(busy, "runs", "--status", "faild", code=2)
    busy.call("flow.dispatch", event={"id": "e", "type": "bad.go"}, wait=True)
    busy.call("flow.dispatch", event={"id": "odd", "type": "odd.go"}, wait=True)
    assert flowd(busy, "runs", "--event", "odd").stderr == "No runs.\n"
    here = busy.call("host.list")["hosts"][0]["name"]
    assert flowd(busy, "runs", "--host", here, "--status", "canceled").stderr == "No runs.\n"
    (busy.path / "flows/bad/flow.toml").unlink()
    flowd_says(busy, "reload")
    assert flowd(busy, "runs", "--flow", "bad", "--status", "success").stderr == "No runs.\n"  # gone, with runs
    assert flowd(busy, "events", "--type", "odd.go", "--until", "2001-01-31").stderr == "No events.\n"


@pytest.mark.parametrize("words", [["drain", "--off"], ["undrain"]])
def test_a_drain_has_a_way_back(busy: Workspace, words: list[str]) -> None:
    assert "To start runs again: flowd drain" in flowd_says(busy, "drain")
    (run_id,) = busy.call("flow.dispatch", event={"id": "e", "type": "bad.go"})["runIds"]
    assert busy.call("flow.getRun", runId=run_id)["run"]["status"] == "queued"
    assert "ready; runs start again" in flowd_says(busy, *words)
    assert busy.call("flow.waitRun", runId=run_id, timeoutMs=50_000)["run"]["status"] == "failed"
    assert busy.call("daemon.status")["state"] == "ready"
    assert "it was not draining" in flowd_says(busy, *words)
    with busy.client() as client:
        assert client.drain()["state"] == "draining"
        assert client.drain(off=True)["state"] == "ready"


def test_an_event_of_a_flow_that_is_broken_on_disk_says_that_an_older_version_runs(busy: Workspace) -> None:
    manifest = busy.path / "flows/ship/flow.toml"
    manifest.write_text(manifest.read_text().replace("runner", "runer"))
    flowd_says(busy, "reload")
    done = flowd(busy, "dispatch", "--type", "ship.go")
    assert (done.returncode, "1 run" in done.stdout) == (0, True)
    assert done.stderr.startswith(f"flowd: Flow ship is broken on disk ({manifest}:")
    assert "; its last good version runs. `flowd validate` shows" in done.stderr
    assert flowd(busy, "dispatch", "--type", "bad.go").stderr == ""
    (first, *_) = flowd_says(busy, "explain", "--type", "ship.go").splitlines()[1:]
    assert first.startswith("broken ship: ")
    assert "1 stale (broken on disk, its last good version runs); see" in flowd_says(busy, "status")


def test_a_replay_that_starts_nothing_says_why(busy: Workspace) -> None:
    flowd_says(busy, "dispatch", "--id", "e", "--type", "ship.go", "--wait", code=1)
    flow = busy.path / "flows/ship"
    had = (flow / "flow.toml").read_text()
    assert flowd(busy, "replay", "e", "--missing").stderr == "flowd: Every step that matches has a run of it already.\n"
    (flow / "flow.toml").write_text(had.replace("ship.go", "ship.went"))
    busy.call("daemon.reload")
    for options in ([], ["--wait"], ["--missing"]):
        done = flowd(busy, "replay", "e", *options)
        assert (done.returncode, done.stdout) == (0, "accepted e: 0 runs\n")
        assert done.stderr.splitlines()[:2] == [
            "flowd: No step matches, so nothing runs. Nearest:",
            "  ship/main: waits for type ship.went, not ship.go",
        ]
    assert flowd(busy, "replay", "e", "--json").stderr == ""
    shutil.rmtree(flow)
    busy.call("daemon.reload")
    assert "flowd: No step matches, so nothing runs." in flowd(busy, "replay", "e").stderr
