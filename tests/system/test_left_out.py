"""What an event might have started, too, is told in the answer, the event and the log, and started once it can be."""

import json
from pathlib import Path
from typing import Any

import pytest
from daemon_rig import Workspace, flowd_says

SCRIPT = 'echo \'FLOW_RESULT {"status":"completed"}\''


@pytest.fixture
def workspace(place: Workspace) -> Workspace:
    place.flow("good", SCRIPT, trigger="t.*")
    return place


def broken(workspace: Workspace, name: str, trigger: str) -> Path:
    """A package whose schema is not there."""
    folder = workspace.flow(name, SCRIPT, trigger=trigger)
    manifest = folder / "flow.toml"
    manifest.write_text(manifest.read_text() + 'schema = "s.json"\n')
    return folder


def dispatch(workspace: Workspace, event_id: str, event_type: str = "t.a") -> Any:
    return workspace.call("flow.dispatch", event={"id": event_id, "type": event_type})


def test_a_broken_packages_share_is_told_and_started_once_it_is_mended(workspace: Workspace) -> None:
    folder = broken(workspace, "noschema", "t.a")
    broken(workspace, "elsewhere", "u.a")
    workspace.start()
    answer = dispatch(workspace, "e")
    assert answer["matched"] == 1
    (share,) = answer["leftOut"]
    assert share["flow"] == "noschema"
    assert 'flow.toml:11: step "main": schema s.json does not exist' in share["why"]
    assert "leftOut" not in dispatch(workspace, "other", "v.a")
    assert dispatch(workspace, "e")["leftOut"] == [share]
    assert workspace.call("flow.getEvent", eventId="e")["event"]["leftOut"] == [share]
    assert "event left out" in workspace.log()

    workspace.kill()
    workspace.start()
    (folder / "s.json").write_text("{}")
    workspace.call("daemon.reload")
    with workspace.client() as client:
        replayed = client.replay_event("e", missing=True, wait=True)
        assert [(run.flow_name, run.status, run.is_replay) for run in replayed.runs] == [
            ("noschema", "completed", False)
        ]
        assert client.replay_event("e", missing=True).matched == 0
        event = client.get_event("e")
        assert event.left_out == ()
        assert len(event.run_ids) == 2
        assert client.replay_event("e").matched == 2
    assert workspace.stop() == 0


@pytest.mark.parametrize(
    "manifest",
    [
        'name = "x"\nversion = 1\n[[steps]\n',  # nobody knows what it waits for
        'name = "x"\nversion = "one"\n[[steps]]\n[steps.trigger]\ntype = "t.*"\n',
    ],
)
def test_a_package_that_cannot_be_read_may_have_been_meant(workspace: Workspace, manifest: str) -> None:
    folder = workspace.path / "flows" / "x"
    folder.mkdir()
    (folder / "flow.toml").write_text(manifest)
    workspace.start()
    assert [share["flow"] for share in dispatch(workspace, "e")["leftOut"]] == ["x"]
    assert workspace.stop() == 0


def test_a_package_that_broke_later_has_no_share_left_out(workspace: Workspace) -> None:
    folder = workspace.flow("late", SCRIPT, trigger="t.a")
    workspace.start()
    (folder / "flow.toml").write_text("name = ")
    workspace.call("daemon.reload")
    answer = dispatch(workspace, "e")
    assert (answer["matched"], "leftOut" in answer) == (2, False)
    assert workspace.stop() == 0


def test_a_check_over_budget_is_a_share_left_out(workspace: Workspace) -> None:
    folder = broken(workspace, "slow", "t.a")
    defs = {f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{n - 1}"}] * 2} for n in range(1, 28)}
    (folder / "s.json").write_text(json.dumps({"$defs": {"d0": {"type": "string"}, **defs}, "$ref": "#/$defs/d27"}))
    workspace.start(FLOWD_MAX_CHECK_MS="50")
    (share,) = dispatch(workspace, "e")["leftOut"]
    assert (share["flow"], share["step"]) == ("slow", "main")
    assert "needs more than the 50 ms" in share["why"]
    assert workspace.stop() == 0


def test_lists_name_what_was_left_out_and_how_to_start_it(workspace: Workspace) -> None:
    folder = broken(workspace, "noschema", "t.a")
    workspace.start()
    dispatch(workspace, "e")
    dispatch(workspace, "other", "t.b")
    listed = {line.split()[0]: line for line in flowd_says(workspace, "events").splitlines()}
    assert "1, 1 left out" in listed["e"]
    assert "left out" not in listed["other"]
    for words in (("runs", "--event", "e"), ("event", "e")):
        told = flowd_says(workspace, *words)
        assert "schema s.json does not exist" in told
        assert "flowd replay e --missing" in told
    assert "left out noschema: " in flowd_says(workspace, "runs", "--event", "e")
    assert "left out noschema" in flowd_says(workspace, "runs", "--event", "e", "--flow", "noschema")
    assert "left out" not in flowd_says(workspace, "runs", "--event", "e", "--flow", "good")
    assert "left out" not in flowd_says(workspace, "runs", "--event", "other")
    assert "Unknown event: none." in flowd_says(workspace, "runs", "--event", "none", code=4)
    (folder / "s.json").write_text("{}")
    workspace.call("daemon.reload")
    flowd_says(workspace, "replay", "e", "--missing")
    assert "left out" not in flowd_says(workspace, "runs", "--event", "e") + flowd_says(workspace, "events")
    assert workspace.stop() == 0
