"""What is recorded of a step's output, through the daemon."""

import os
from pathlib import Path

from command_copy import run_flowd
from daemon_rig import Workspace, flowd, say, until
from doctor_rig import doctor
from previous_rig import environment_of, newer_version

from flowd.keeper import stream_order


def dispatched(place: Workspace, name: str) -> str:
    (run_id,) = place.call("flow.dispatch", event={"id": f"e-{name}", "type": f"{name}.go", "payload": {}})["runIds"]
    return str(run_id)


def recorded_order(place: Workspace, run_id: str) -> bytes:
    with place.database() as db:
        row = db.execute(
            "SELECT stream_order FROM attempts WHERE run_seq = (SELECT seq FROM runs WHERE id = ?)", (run_id,)
        ).fetchone()
    return bytes(row[0])


def test_reopened_streams_keep_the_result_and_the_order_is_stored_with_the_output(place: Workspace) -> None:
    record = f"{place.path}/.codex/flowd/output"
    wait = f"until grep -qs {{}} {record}/*.{{}}; do sleep 0.01; done"
    script = (
        f"echo one; {wait.format('one', 'stdout')}; echo two > /dev/stderr; {wait.format('two', 'stderr')}\n"
        f"echo three > /dev/stdout; {say('changed', message='kept')}"
    )
    place.flow("work", script)
    place.start()
    run = place.call("flow.waitRun", runId=dispatched(place, "work"), timeoutMs=50_000)["run"]
    assert (run["status"], run["result"]["message"]) == ("completed", "kept")
    texts = {part["kind"]: part["text"].encode() for part in run["output"]}
    assert texts["stdout"].startswith(b"one\nthree\nFLOW_RESULT ")
    assert texts["stderr"] == b"two\n"
    pieces = stream_order.pieces(recorded_order(place, run["id"]), (len(texts["stdout"]), len(texts["stderr"])))
    assert pieces == [("stdout", 4), ("stderr", 4), ("stdout", len(texts["stdout"]) - 4)]
    assert not os.listdir(record)
    assert place.stop() == 0
    until(lambda: not place.processes(str(place.path)), what="the end of the keeper and its standby")


def test_logs_print_both_streams_in_the_order_in_which_they_were_printed(place: Workspace) -> None:
    turns = "".join(f"say o{n}; say e{n} >&2; " for n in range(20))
    # The keeper tells the order of what it reads at different times.
    script = (
        f"say() {{ echo $1; sleep 0.02; }}\nsay e >&2; {turns}echo $KEY; sleep 0.02; echo last >&2; {say('changed')}"
    )
    place.flow("mixed", script)
    (place.path / ".codex").mkdir()
    (place.path / ".codex/flowd.toml").write_text('[environment]\nredact = ["KEY"]\n')
    place.start(KEY="correct-horse-battery")
    run_id = place.call("flow.waitRun", runId=dispatched(place, "mixed"))["run"]["id"]
    printed = [line.rpartition(" | ")[2] for line in together(place, "logs", run_id)]
    expected = ["e", *(f"{stream}{n}" for n in range(20) for stream in "oe")]
    assert printed[:41] == expected
    assert [line for line in printed[41:] if "FLOW_RESULT" not in line] == ["***", "last"]
    assert together(place, "logs", "--event", "e-mixed") == [f"mixed/main | {line}" for line in printed]
    assert flowd(place, "logs", run_id).stderr.split() == [line for line in printed if line[0] == "e" or line == "last"]


def together(place: Workspace, *words: str) -> list[str]:
    """The lines of a command that prints both streams to one place."""
    done = run_flowd(*words, "-w", place.path, is_one_stream=True)
    assert done.returncode == 0, done.stdout
    return done.stdout.splitlines()


def test_a_step_without_a_result_is_told_what_was_ended_while_it_printed(place: Workspace) -> None:
    script = "(while :; do echo on; sleep 0.02; done) &\nexit 0"
    place.flow("work", script, step="grace_ms = 300")
    place.start()
    run = place.call("flow.waitRun", runId=dispatched(place, "work"), timeoutMs=50_000)["run"]
    assert run["reason"] == "no_result"
    assert "still printed when its grace_ms were over, and was ended" in run["error"]
    assert all(left in run["error"] for left in run["attempts"][0]["leftovers"])
    assert place.stop() == 0


def test_a_keeper_of_another_version_is_named_by_status_and_doctor(place: Workspace, tmp_path: Path) -> None:
    place.flow("work", f"touch up; until [ -e go ]; do sleep 0.05; done; {say('changed')}")
    place.start(FLOWD_ON_STOP="keep", **environment_of(newer_version(tmp_path / "new")))
    run_id = dispatched(place, "work")
    until((place.path / "flows/work/up").exists, what="the step's start")
    keeper = place.keeper_pid()
    assert place.stop() == 0
    place.start(FLOWD_ON_STOP="keep")
    outdated = place.call("daemon.status")["outdatedKeeper"]
    assert outdated == {"version": "99.0.0", "pid": keeper, "lacks": []}
    found = doctor(place.path)["by_check"]["keeper.version"]
    assert (found["level"], "99.0.0" in str(found)) == ("warn", True)
    (place.path / "flows/work/go").touch()
    assert place.call("flow.waitRun", runId=run_id, timeoutMs=50_000)["run"]["status"] == "completed"
    until(lambda: place.call("daemon.status")["keeper"].get("pid") not in (None, keeper), what="another keeper")
    assert "outdatedKeeper" not in place.call("daemon.status")
    assert "keeper.version" not in doctor(place.path)["by_check"]
    assert place.stop() == 0
