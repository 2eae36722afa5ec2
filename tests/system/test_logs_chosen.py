"""`flowd logs` without a run's id: of the newest round, of a flow, since then, the last lines; and in their order."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_copy import run_flowd
from command_rig import command
from daemon_rig import Workspace, flowd, flowd_says, say, until, workspace

BIG = 20_000
"""Lines on stdout: more than what is read first of an end."""


@pytest.fixture(scope="module")
def told() -> Iterator[Workspace]:
    """A flow of two steps that ran twice, and one with a long output."""
    with workspace() as place:
        place.flow("pair", f"echo out; echo {{}} ; echo bad >&2; {say('changed')}")
        manifest = place.path / "flows/pair/flow.toml"
        manifest.write_text(
            manifest.read_text() + '[[steps]]\nname = "then"\nrunner = "exec"\nscript = "main.sh"\nneeds = ["main"]\n'
        )
        place.flow("long", f"seq {BIG}; seq 3 >&2; seq 3; exit 1")
        place.flow("never", say("changed"))
        place.start()
        for event in ("first", "second"):
            place.call("flow.dispatch", event={"id": event, "type": "pair.go"}, wait=True)
            place.call("flow.waitEvent", eventId=event)
        yield place


def names(text: str) -> list[str]:
    return [line.split(" | ")[0].strip() for line in text.splitlines()]


def test_the_newest_round_is_printed_step_by_step(told: Workspace) -> None:
    done = flowd(told, "logs", "--last", "--flow", "pair")
    assert names(done.stdout) == ["pair/main"] * 3 + ["pair/then"] * 3
    assert names(done.stderr) == ["pair/main", "pair/then"]
    assert names(flowd(told, "logs", "-f", "--last", "--flow", "pair", "--stdout", "-n", "1").stdout) == [
        "pair/main", "pair/then",
    ]  # fmt: skip
    assert "There is no run of flow never yet." in flowd_says(told, "logs", "--last", "--flow", "never", code=4)


def test_a_flows_runs_are_printed_oldest_first(told: Workspace) -> None:
    done = flowd(told, "logs", "--flow", "pair", "-n", "1", "--stdout")
    ids = [run["id"] for run in reversed(told.call("flow.listRuns", flow="pair")["runs"])]
    assert [line.split(" | ")[0].split() for line in done.stdout.splitlines()] == [
        [f"pair/{name}", run_id] for name, run_id in zip(("main", "then") * 2, ids, strict=True)
    ]
    assert len(flowd(told, "logs", "--flow", "pair", "--since", "2h", "--stdout").stdout.splitlines()) == 12
    assert "did you mean 'pair'?".lower() in flowd_says(told, "logs", "--flow", "piar", code=4).lower()
    assert "name none beside them" in flowd_says(told, "logs", "--flow", "pair", "@last", code=2)
    assert "--since is of what was" in flowd_says(told, "logs", "-f", "--since", "2h", code=2)


def test_the_last_lines_are_those_that_were_printed_last(told: Workspace) -> None:
    (run_id,) = told.call("flow.dispatch", event={"id": "long", "type": "long.go"}, wait=True)["runIds"]
    whole = flowd(told, "logs", run_id)
    assert (len(whole.stdout.splitlines()), whole.stderr) == (BIG + 3, "1\n2\n3\n")
    both = merged(told, "logs", run_id)
    for count in (1, 7, 18_000, BIG + 100):
        assert merged(told, "logs", run_id, "-n", str(count)) == both[-count:], count
    assert merged(told, "logs", run_id, "-n", "2", "--stderr") == ["2", "3"]
    assert merged(told, "logs", "-f", run_id, "-n", "2", "--stdout") == ["2", "3"]
    assert merged(told, "logs", run_id, "-n", "0") == []


def merged(place: Workspace, *words: str) -> list[str]:
    """What comes on both streams."""
    return run_flowd(*words, "-w", place.path, is_one_stream=True).stdout.splitlines()


def waits(name: str) -> str:
    return f"until [ -e {name} ]; do sleep 0.02; done"


def test_what_a_step_printed_before_it_is_followed_comes_in_its_order(place: Workspace, tmp_path: Path) -> None:
    script = f"echo 1; {waits('a')}; echo 2 >&2; {waits('b')}; echo 3; {waits('c')}; echo 4 >&2; {say('changed')}"
    folder = place.flow("work", script)
    place.start()
    (run_id,) = place.call("flow.dispatch", event={"id": "e", "type": "work.go"})["runIds"]
    for name, stream, size in (("a", "stdout", 2), ("b", "stderr", 2), ("c", "stdout", 4)):
        until(lambda stream=stream, size=size: output_bytes(place, run_id, stream) == size)
        if name != "c":
            (folder / name).touch()
    for words in (("-f", run_id), ("-f", "--event", "e"), ("-f", run_id, "-n", "3"), (run_id,)):
        read, write = os.pipe()
        argv = [sys.executable, "-m", "flowd", "logs", *words, "-w", str(place.path)]
        with subprocess.Popen(argv, stdout=write, stderr=write) as follower, open(read, encoding="utf-8") as said:
            os.close(write)
            lines = [said.readline().split(" | ")[-1].strip() for _ in range(3)]
            follower.kill()
        assert lines == ["1", "2", "3"], words
    with command(place, tmp_path, "logs", "-f", "-n", "1", run_id) as follower:
        until(lambda: follower.out == ["3"])
        (folder / "c").touch()
        assert follower.process.wait(60) == 0
        assert (follower.out[0], follower.err, len(follower.out)) == ("3", ["4"], 2)


def output_bytes(place: Workspace, run_id: str, stream: str) -> int:
    return int(place.call("flow.readOutput", runId=run_id, stream=stream)["size"])


def test_a_flow_is_followed_through_runs_that_come_and_attempts_that_come_later(
    place: Workspace, tmp_path: Path
) -> None:
    place.flow("work", "echo again; exit 1")
    place.flow("other", f"echo other; {say('changed')}")
    place.start()
    place.call("flow.dispatch", event={"id": "before", "type": "work.go"}, wait=True)
    with command(place, tmp_path, "logs", "-f", "--flow", "work") as follower:
        count = 0

        def heard() -> bool:
            nonlocal count
            count += 1
            place.call("flow.dispatch", event={"id": f"e{count}", "type": "work.go"}, wait=True)
            return bool(follower.out)

        until(heard)  # it listens
        place.call("flow.dispatch", event={"id": "elsewhere", "type": "other.go"}, wait=True)
        (last,) = place.call("flow.dispatch", event={"id": "last", "type": "work.go"}, wait=True)["runIds"]
        until(lambda: any(last in line for line in follower.out))
        place.call("flow.retryRun", runId=last)
        until(lambda: sum(last in line for line in follower.out) == 2)
        follower.process.send_signal(signal.SIGINT)
        assert follower.process.wait(60) == 130
        assert all("again" in line for line in follower.out)
        assert follower.err == []
