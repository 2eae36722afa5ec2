"""A folder for each round, in which its steps hand files on: gone with the round, kept where somebody may look."""

import json
from pathlib import Path

import pytest
from daemon_rig import Workspace, say, until, workspace

TOP = "round_dir = true"


def folders(place: Workspace) -> list[Path]:
    return sorted((place.path / ".codex" / "flowd" / "rounds").glob("*"))


def dispatch(place: Workspace, name: str) -> str:
    answer = place.call("flow.dispatch", event={"id": name, "type": f"{name}.go"}, wait=True)
    return str(answer["runIds"][0])


def stdout(place: Workspace, run_id: str) -> str:
    return str(place.call("flow.readOutput", runId=run_id)["text"])


def test_a_round_s_folder_is_told_and_goes_with_the_round() -> None:
    with workspace() as place:
        place.flow("fine", f"echo x >$FLOWD_ROUND_DIR/x; chmod 500 $FLOWD_ROUND_DIR; cat; {say('changed')}", top=TOP)
        place.start()
        text = stdout(place, dispatch(place, "fine"))
        context = json.loads(text[: text.rindex("}\nFLOW_RESULT") + 1])
        folder = Path(context["runtime"]["roundDir"])
        assert folder.parent.name == "rounds"
        until(lambda: not folders(place), what="the folder is gone")


def test_a_folder_goes_however_deep_it_is() -> None:
    with workspace() as place:
        deep = (
            "cd $FLOWD_ROUND_DIR; part=$(printf 'd/%.0s' $(seq 500)); for n in 1 2 3; do mkdir -p $part; cd $part; done"
        )
        place.flow("deep", f"{deep}; {say('changed')}", top=TOP)
        place.start()
        dispatch(place, "deep")
        until(lambda: not folders(place), what="the folder is gone")


def test_a_flow_that_asks_for_none_has_none() -> None:
    with workspace() as place:
        place.flow("plain", f'echo "[$FLOWD_ROUND_DIR]"; {say("changed")}')
        place.start()
        assert stdout(place, dispatch(place, "plain")).startswith("[]\n")
        assert not folders(place)


@pytest.mark.parametrize("script", ["exit 1", say("blocked")])
def test_it_is_kept_where_something_failed_or_asks_until_its_event_is_forgotten(script: str) -> None:
    with workspace() as place:
        place.flow("bad", f"echo x >$FLOWD_ROUND_DIR/x; {script}", top=TOP)
        place.flow("fine", say("changed"))
        place.start()
        run_id = dispatch(place, "bad")
        (folder,) = [path for path in folders(place) if path.is_dir()]
        dispatch(place, "fine")  # the newest event is never forgotten
        place.stop()
        with place.database() as db:
            db.execute("UPDATE events SET created_at_ms = 1")
            db.execute("UPDATE runs SET completed_at_ms = 1, updated_at_ms = 1")
        place.start()
        assert (folder / "x").read_text() == "x\n"
        place.call("daemon.prune", olderThanMs=60_000)
        if "blocked" in script:
            assert folder.exists()  # while a run asks, its event is not forgotten
            place.call("flow.resolveRun", runId=run_id, status="failed")
            place.call("daemon.prune", olderThanMs=60_000)
        until(lambda: not folders(place), what="the folder is gone")


def test_the_next_attempt_finds_what_the_last_one_left() -> None:
    with workspace() as place:
        script = f"test -e $FLOWD_ROUND_DIR/x && {{ {say('changed')}; exit 0; }}; touch $FLOWD_ROUND_DIR/x; exit 1"
        place.flow("twice", script, top=TOP)
        place.start()
        run_id = dispatch(place, "twice")
        place.call("flow.retryRun", runId=run_id)
        assert place.call("flow.waitRun", runId=run_id)["run"]["effectiveStatus"] == "changed"
        until(lambda: not folders(place), what="the folder is gone")


def test_a_folder_that_a_killed_daemon_left_goes_at_the_next_start() -> None:
    with workspace() as place:
        place.flow("slow", f"until [ -e {place.path}/go ]; do sleep 0.02; done; {say('changed')}", top=TOP)
        place.start()
        place.call("flow.dispatch", event={"id": "slow", "type": "slow.go"})
        until(lambda: folders(place), what="the folder")
        place.kill()
        (place.path / "go").touch()
        place.start()
        until(lambda: not folders(place), what="the folder is gone")


def test_a_step_that_would_find_the_folder_removed_fails_and_says_what_to_replay() -> None:
    with workspace() as place:
        folder = place.flow("asks", f"touch $FLOWD_ROUND_DIR/notes; {say('blocked')}", top=TOP)
        with (folder / "flow.toml").open("a") as manifest:
            manifest.write('[[steps]]\nname = "after"\nrunner = "exec"\nscript = "after.sh"\nneeds = ["main"]\n')
        (folder / "after.sh").write_text(f"#!/bin/sh\n{say('changed')}\n")
        (folder / "after.sh").chmod(0o755)
        place.start()
        asking, after = place.call("flow.dispatch", event={"id": "e", "type": "asks.go"}, wait=True)["runIds"]
        (made,) = (path for path in folders(place) if path.is_dir())
        (made / "notes").unlink()
        made.rmdir()
        place.call("flow.resolveRun", runId=asking, status="completed")
        run = place.call("flow.waitRun", runId=after)["run"]
        assert (run["status"], run["reason"]) == ("failed", "spawn")
        assert "the folder of its round was removed" in run["error"]
        assert "flowd replay e --from STEP" in run["error"]
        again = place.call("flow.replay", eventId="e", wait=True)["runs"]
        place.call("flow.resolveRun", runId=again[0]["id"], status="completed")
        assert place.call("flow.waitRun", runId=again[1]["id"])["run"]["effectiveStatus"] == "changed"
