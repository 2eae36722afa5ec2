"""``flowd fire`` and ``flowd exec``: what steps write is shown as it comes, and what they send reaches no daemon."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command_rig import command
from daemon_rig import Workspace, flowd, say, until, workspace
from terminal_rig import on_terminal

FLOWD = f"{sys.executable} -m flowd"


@pytest.fixture
def place() -> Iterator[Workspace]:
    with workspace() as it:
        yield it


@pytest.fixture
def other() -> Iterator[Workspace]:
    with workspace() as it:
        yield it


def event(place: Workspace, kind: str = "try.go") -> str:
    path = place.path / f"{kind}.json"
    path.write_text(json.dumps({"id": "e1", "type": kind}))
    return str(path)


def dispatch_by(client: str) -> str:
    code = f"from flowd_client import create_flow_client as c; c({client}).dispatch_event"
    return f"""{sys.executable} -c '{code}({{"id": "sent", "type": "other.go"}})'"""


def ways(place: Workspace, other: Workspace) -> dict[str, str]:
    """What a step may do to reach the daemon that its workspace has, or another one."""
    event = "dispatch --id sent --type other.go"
    return {
        "the command": f"{FLOWD} {event}",
        "the command without its socket": f"cd {place.path}/flows && unset FLOWD_SOCKET; {FLOWD} {event}",
        "the command with a workspace": f"{FLOWD} {event} -w {place.path}",
        "the command with a socket": f"{FLOWD} {event} --socket {place.socket}",
        "a variable with a socket": f"FLOWD_SOCKET={place.socket} {FLOWD} {event}",
        "a variable with a workspace": f"FLOWD_WORKSPACE={place.path} {FLOWD} {event}",
        "another workspace": f"{FLOWD} {event} -w {other.path}",
        "the client": dispatch_by(""),
        "the client with a workspace": dispatch_by(f'workspace="{place.path}"'),
        "the client with a socket": dispatch_by(f'socket_path="{place.socket}"'),
        "the client over HTTP": dispatch_by('mode="http", base_url="http://127.0.0.1:1"'),
        "the client with the state of the daemon": dispatch_by(f'mode="local", workspace="{place.path}", state="file"'),
        "flowd within flowd": f"{FLOWD} exec inner main {place.path}/inner.json --live",
    }


def test_no_daemon_gets_what_a_step_sends_that_is_only_tried_out(place: Workspace, other: Workspace) -> None:
    lines = ways(place, other)
    place.flow("try", "\n".join(f"( {line} ) || exit 9" for line in lines.values()) + "\n" + say("completed"))
    place.flow("inner", f"{FLOWD} dispatch --id sent --type other.go; {say('completed')}")
    (place.path / "inner.json").write_text('{"id": "i", "type": "inner.go"}')
    place.start()
    other.start()
    done = flowd(place, "exec", "try", "main", event(place))
    assert (done.returncode, json.loads(done.stdout)["result"]) == (0, {"status": "completed"}), done.stderr
    for one in (place, other):
        assert one.call("flow.listEvents")["events"] == []
    assert 'try/main sent other.go "sent". It stays here: no daemon gets it.' in done.stderr


def test_each_event_that_exec_keeps_is_told_also_those_of_the_result(place: Workspace) -> None:
    going_on = [{"id": "n1", "type": "other.go"}, {"type": "more.go"}]
    place.flow("try", f"{FLOWD} dispatch --id s1 --type other.go --wait; {say('completed', next=going_on)}")
    place.flow("other", f"touch {place.path}/ran; {say('completed')}")
    place.start()
    done = flowd(place, "exec", "try", "main", event(place))
    told = [line for line in done.stderr.splitlines() if " sent " in line]
    assert [line.partition(" sent ")[2].partition(".  ")[0].split()[0] for line in told] == [
        "other.go",
        "other.go",
        "more.go",
    ]
    assert place.call("flow.listEvents")["events"] == []
    assert not (place.path / "ran").exists()


def test_a_next_that_is_none_is_told_by_exec(place: Workspace) -> None:
    place.flow("try", say("completed", next=[{"id": "n1"}]))
    done = flowd(place, "exec", "try", "main", event(place))
    assert "try/main: a daemon would not take what comes next: next[0]" in done.stderr


def test_fire_runs_what_is_sent_right_here(place: Workspace) -> None:
    place.flow("try", f"{FLOWD} dispatch --id s1 --type other.go; {say('completed')}")
    place.flow("other", f"echo here; {say('changed')}")
    place.start()
    done = flowd(place, "fire", event(place))
    results = json.loads(done.stdout)["results"]
    assert [(one["flow"], one["result"]["status"]) for one in results] == [("try", "completed"), ("other", "changed")]
    assert 'try/main sent other.go "s1". It runs here: no daemon gets it.' in done.stderr
    assert place.call("flow.listEvents")["events"] == []


def test_live_lets_a_step_send_to_the_daemon_of_its_workspace(place: Workspace) -> None:
    place.flow("try", f"{FLOWD} dispatch --id s1 --type other.go; {say('completed')}")
    place.start()
    done = flowd(place, "exec", "try", "main", event(place), "--live")
    assert done.returncode == 0, done.stderr
    assert [one["id"] for one in place.call("flow.listEvents")["events"]] == ["s1"]


@pytest.mark.parametrize("verb", [("fire",), ("exec", "try", "main")])
def test_what_a_step_writes_is_shown_while_it_runs_and_stdout_has_the_result_alone(
    place: Workspace, tmp_path: Path, verb: tuple[str, ...]
) -> None:
    gate = place.path / "gate"
    place.flow("try", f"echo early; until [ -e {gate} ]; do sleep 0.05; done; echo late >&2; {say('completed')}")
    with command(place, tmp_path, *verb, event(place)) as running:
        until(lambda: running.err == ["early"])
        gate.touch()
        assert running.process.wait(60) == 0
    assert "late" in running.err
    assert running.err[-1].startswith("flowd: try/main completed in ")
    assert len(running.out) == 1
    assert json.loads(running.out[0])


def test_fire_stops_at_a_question_says_so_and_goes_on_where_it_is_approved(place: Workspace) -> None:
    folder = place.flow("try", say("needs_intervention", message="publish?"))
    with (folder / "flow.toml").open("a") as manifest:
        manifest.write('[[steps]]\nname = "then"\nrunner = "exec"\nscript = "then.sh"\nneeds = ["main"]\n')
    (folder / "then.sh").write_text(f"#!/bin/sh\n{say('changed')}\n")
    (folder / "then.sh").chmod(0o755)
    done = flowd(place, "fire", event(place))
    assert done.returncode == 1
    assert "main asks for a person" in done.stderr
    assert "--approve main` goes on" in done.stderr
    done = flowd(place, "fire", event(place), "--approve", "main")
    assert done.returncode == 0, done.stderr
    assert [one["step"] for one in json.loads(done.stdout)["results"]] == ["main", "then"]
    assert json.loads(done.stdout)["results"][1]["result"]["status"] == "changed"


def test_of_several_steps_each_line_is_behind_its_name_and_each_end_is_told(place: Workspace) -> None:
    place.flow("one", f"echo from one; {say('completed', message='all good')}", trigger="try.go")
    place.flow("second", "printf 'no end'; exit 3", trigger="try.go")
    done = flowd(place, "fire", event(place))
    said = done.stderr.splitlines()
    assert done.returncode == 1
    assert {"one/main    | from one", "second/main | no end"} <= {*said, *(line.strip() for line in said)}
    assert any(line.startswith("flowd: one/main completed in ") and line.endswith(": all good") for line in said)
    end = ": exited with 3; its last words: no end"
    assert any(line.startswith("flowd: second/main failed in ") and line.endswith(end) for line in said)


def test_of_steps_in_order_the_first_ones_lines_too_are_behind_its_name(place: Workspace) -> None:
    folder = place.flow("try", f"echo first; {say('changed')}")
    with (folder / "flow.toml").open("a") as manifest:
        manifest.write('[[steps]]\nname = "afterwards"\nrunner = "exec"\nscript = "then.sh"\nneeds = ["main"]\n')
    (folder / "then.sh").write_text(f"#!/bin/sh\necho then; {say('changed')}\n")
    (folder / "then.sh").chmod(0o755)
    said = flowd(place, "fire", event(place)).stderr.splitlines()
    assert said[0] == "try/main       | first"
    assert "try/afterwards | then" in said
    assert flowd(place, "exec", "try", "main", event(place)).stderr.splitlines()[0] == "first"


def test_quiet_shows_no_output_but_why_a_step_failed(place: Workspace) -> None:
    place.flow("try", "echo loud; exit 3")
    done = flowd(place, "fire", event(place), "-q")
    assert json.loads(done.stdout)["results"][0]["status"] == "failed"
    assert done.stderr.startswith("flowd: Step try/main exited with 3\n")


def test_a_terminal_gets_no_control_sequences_and_no_lines_of_progress(place: Workspace) -> None:
    place.flow(
        "try", f"printf '\\033]0;owned\\007title\\n'; echo 'FLOW_PROGRESS {{\"percent\": 5}}'; {say('completed')}"
    )
    shown = on_terminal("exec", "try", "main", event(place), cwd=place.path)
    assert "title" in shown
    assert "owned\x07" not in shown
    assert "FLOW_PROGRESS" not in shown


@pytest.mark.parametrize("verb", [("exec", "try", "main"), ("dev", "try", "--once", "--event")])
def test_a_step_that_this_host_does_not_run_is_refused_and_not_waited_for(
    place: Workspace, verb: tuple[str, ...]
) -> None:
    place.flow("try", say("completed"), step='runs_on = ["gpu"]')
    done = flowd(place, *verb, event(place))
    assert done.returncode == (1 if "dev" in verb else 5)
    assert "Step try/main cannot be tried here: this host has no label gpu" in done.stdout + done.stderr


def test_what_outlives_a_trial_is_told_why_it_finds_no_daemon(
    place: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.start()
    monkeypatch.setenv("FLOWD_REHEARSAL", f"{place.path}/gone.sock")
    done = subprocess.run(
        [sys.executable, "-m", "flowd", "runs", "-w", str(place.path)], capture_output=True, text=True
    )
    assert done.returncode == 3
    assert "FLOWD_REHEARSAL says that this program belongs to that" in done.stderr


@pytest.mark.parametrize("verb", [("fire",), ("dev", "try", "--once", "--event")])
def test_settings_that_are_wrong_are_told_by_their_file(place: Workspace, verb: tuple[str, ...]) -> None:
    place.flow("try", say("completed"))
    (place.path / ".codex").mkdir()
    (place.path / ".codex/flowd.toml").write_text("max_parallel = 0\n")
    done = flowd(place, *verb, event(place))
    assert done.returncode == 5
    assert done.stderr.startswith(f"flowd: {place.path}/.codex/flowd.toml:1:")
    assert "max_parallel must be " in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_steps_with_their_grace_and_leaves_no_process(place: Workspace, number: int) -> None:
    place.flow("try", f"trap 'echo cleaned; exit 1' TERM; echo {place.path}/ready; while :; do sleep 0.05; done")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("FLOWD_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "flowd", "fire", event(place), "-w", str(place.path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environ,
    )
    assert process.stderr is not None
    assert process.stderr.readline() == f"{place.path}/ready\n"
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, "")
    assert "cleaned" in err
    assert "flowd: try/main canceled in " in err
    until(lambda: not place.processes(str(place.path)))


def test_a_second_interrupt_kills_what_takes_its_time(place: Workspace, tmp_path: Path) -> None:
    script = f"trap 'echo asked' TERM; echo {place.path}/ready; while :; do sleep 0.05; done"
    place.flow("try", script, step="grace_ms = 600000")
    with command(place, tmp_path, "exec", "try", "main", event(place)) as running:
        until(lambda: f"{place.path}/ready" in running.err)
        running.process.send_signal(signal.SIGINT)
        until(lambda: "asked" in running.err)
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(60) == 130
    assert running.err[-1].endswith(": was canceled (ended by SIGKILL)")
    until(lambda: not place.processes(str(place.path)))


def test_the_engine_of_a_caller_is_asked_by_its_steps(place: Workspace) -> None:
    """Everything that a step can ask a daemon, it can ask who tries it out."""
    place.flow("try", f"{FLOWD} runs --json; {FLOWD} flows >&2; {say('completed')}")
    done = flowd(place, "exec", "try", "main", event(place))
    runs: Any = json.loads(next(line for line in done.stderr.splitlines() if line.startswith("{")))
    assert [run["status"] for run in runs["runs"]] == ["running"]


@pytest.mark.parametrize("words", [("fire", "event.json"), ("dev", "talks", "--event", "event.json", "--once")])
def test_what_nobody_reads_any_more_is_ended_with_its_steps(place: Workspace, words: tuple[str, ...]) -> None:
    place.flow("talks", 'echo $$ >"$0.pid"; while echo talk >&2; do sleep 0.02; done')
    (place.path / "event.json").write_text('{"type": "talks.go"}')
    command = [sys.executable, "-m", "flowd", *words]
    with subprocess.Popen(command, cwd=place.path, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as running:
        assert running.stderr is not None
        assert any(b"talk" in line for line in running.stderr)
        running.stderr.close()
        try:
            assert running.wait(60) == 141
        finally:
            running.kill()
    (file,) = (place.path / "flows/talks").rglob("*.pid")
    until(lambda: not os.path.exists(f"/proc/{file.read_text().strip()}"), what="an end of the step")
