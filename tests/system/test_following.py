"""Followers of outputs, events and runs: every line exactly once, live, over kill -9 of the daemon."""

import contextlib
import json
import re
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from command_rig import Command, command
from daemon_rig import Workspace, say, until
from terminal_rig import on_terminal

from flowd_client.views.update import UpdateView

COUNTING = "n=0; while [ ! -e go ]; do n=$((n+1)); echo out $n; echo err $n >&2; sleep 0.03; done; echo last"


def dispatch(place: Workspace, event_id: str, kind: str = "work.go") -> list[str]:
    return list(place.call("flow.dispatch", event={"id": event_id, "type": kind, "payload": {}})["runIds"])


def test_two_followers_of_one_run_see_every_line_over_kill_9(place: Workspace, tmp_path: Path) -> None:
    place.flow("work", f"{COUNTING}; {say('changed')}")
    place.start()
    (run_id,) = dispatch(place, "e1")
    heard: dict[str, str] = {"stdout": "", "stderr": ""}

    def listen() -> None:
        with place.client() as client:
            for stream, text in client.follow_output(run_id):
                heard[stream] += text

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    with command(place, tmp_path, "logs", "-f", run_id) as follower:
        for count in (5, 25):
            until(lambda count=count: len(follower.out) > count and heard["stdout"].count("\n") > count)
            place.kill()
            place.start()
        until(lambda: len(follower.out) > 45, what="lines after the second restart")
        (place.path / "flows/work/go").touch()
        assert follower.process.wait(60) == 0
        thread.join(60)
        assert not thread.is_alive()
        out, err = follower.out, follower.err
    count = len(err)
    assert err == [f"err {n}" for n in range(1, count + 1)]
    assert out[:-1] == [*(f"out {n}" for n in range(1, count + 1)), "last"]
    assert heard["stdout"].splitlines() == out
    assert heard["stderr"].splitlines() == err


def test_an_events_runs_are_woven_to_their_ends_also_those_that_start_later(place: Workspace, tmp_path: Path) -> None:
    place.flow("first", f"{COUNTING}; {say('changed')}", trigger="work.go")
    place.flow("later", f"printf '10%%\\r50%%\\r100%%\\n'; echo bad >&2; {say('changed')}", trigger="work.go")
    place.start(FLOWD_MAX_PARALLEL="1")
    dispatch(place, "e1")
    with command(place, tmp_path, "logs", "-f", "--event", "e1") as follower:
        until(lambda: len(follower.out) > 5, what="lines of the first run")
        place.kill()
        place.start(FLOWD_MAX_PARALLEL="1")
        until(lambda: len(follower.out) > 30, what="lines after the restart")
        (place.path / "flows/first/go").touch()
        assert follower.process.wait(60) == 0
        out, err = follower.out, follower.err
    first = [line.removeprefix("first/main | ") for line in out if line.startswith("first/main | ")]
    later = [line.removeprefix("later/main | ") for line in out if line.startswith("later/main | ")]
    assert len(first) + len(later) == len(out)
    count = len(first) - 2
    assert first[:-1] == [*(f"out {n}" for n in range(1, count + 1)), "last"]
    assert later == ["100%", 'FLOW_RESULT {"status": "changed"}']
    assert "later/main | bad" in err
    assert len(err) == count + 1


def test_runs_and_events_are_followed_over_kill_9_and_end_quietly_at_ctrl_c(place: Workspace, tmp_path: Path) -> None:
    place.flow("work", say("blocked"))
    place.start(FLOWD_MAX_PARALLEL="1")  # so that they end in their order
    start = place.call("daemon.status") and cursor_now(place)
    with (
        command(place, tmp_path, "events", "-f", "--after", start) as events,
        command(place, tmp_path, "runs", "-f", "--json", "--after", start) as runs,
        command(place, tmp_path, "runs", "-f", "--status", "blocked", "--after", start) as blocked,
    ):

        def counts() -> tuple[int, ...]:
            return tuple(len(follower.out) for follower in (events, runs, blocked))

        ids: list[str] = []
        for n in range(6):
            ids += dispatch(place, f"e{n}")
            if n % 2:
                until(lambda n=n: counts() == (n + 1, 3 * n + 3, n + 1), what="the updates so far")
                place.kill()
                place.start(FLOWD_MAX_PARALLEL="1")
        until(lambda: counts() == (6, 18, 6), what="all updates")
        told: list[dict[str, Any]] = [json.loads(line) for line in runs.out]
        assert [line.split()[1] for line in events.out] == [f"e{n}" for n in range(6)]
        assert all(re.search(r"work\.go  1 run$", line) for line in events.out)
        assert [line.split()[2] for line in blocked.out] == ids
        for follower in (events, runs, blocked):
            follower.process.send_signal(signal.SIGINT)
            assert follower.process.wait(60) == 130
            assert follower.err == []
    for run_id in ids:
        assert [u["status"] for u in told if u["run"]["id"] == run_id] == ["queued", "running", "completed"]


def test_runs_that_stand_are_shown_first_and_nothing_twice_under_load(place: Workspace, tmp_path: Path) -> None:
    place.flow("hold", f"while [ ! -e go ]; do sleep 0.02; done; {say('changed')}", trigger="hold.go")
    place.flow("work", say("completed"))
    place.start(FLOWD_MAX_PARALLEL="2")
    (held,) = dispatch(place, "held", "hold.go")
    (holds_too,) = dispatch(place, "held-too", "hold.go")
    until(lambda: place.call("flow.getRun", runId=holds_too)["run"]["status"] == "running")
    (waits,) = dispatch(place, "waits")
    with command(place, tmp_path, "runs", "-f") as follower:
        until(lambda: len(follower.out) == 3, what="the runs that stand")
        assert [line.split()[1:3] for line in follower.out] == [
            ["running", held], ["running", holds_too], ["queued", waits],
        ]  # fmt: skip
    with command(place, tmp_path, "runs", "-f", "--status", "queued", "--json") as queued:
        until(lambda: len(queued.out) == 1, what="the queued run")
        assert json.loads(queued.out[0])["run"]["id"] == waits
    (place.path / "flows/hold/go").touch()
    stop = threading.Event()
    ids: list[str] = []

    def load() -> None:
        while not stop.is_set():
            ids.extend(dispatch(place, f"e{len(ids)}"))

    thread = threading.Thread(target=load)
    thread.start()
    followers: list[Command] = []
    accepted_before: list[int] = []
    try:
        until(lambda: len(ids) > 5)
        with contextlib.ExitStack() as stack:
            for _ in range(4):  # each begins in the middle of many changes
                followers.append(stack.enter_context(command(place, tmp_path, "runs", "-f", "--json")))
                until(lambda: followers[-1].out, what="a first line")
                accepted_before.append(len(ids) + 1)  # one more may have been accepted, and not be noted yet
            stop.set()
            thread.join(60)
            ids += dispatch(place, "last")
            for follower in followers:
                until(
                    lambda follower=follower: any(
                        ids[-1] in line and '"completed","run"' in line for line in follower.out
                    ),
                    what="the last run's end",
                )
    finally:
        stop.set()
        thread.join(60)
    whole = ["queued", "running", "completed"]
    for follower, count in zip(followers, accepted_before, strict=True):
        told: dict[str, list[str]] = {}
        for update in map(json.loads, follower.out):
            told.setdefault(update["run"]["id"], []).append(update["status"])
        assert all(statuses in (whole, whole[1:], whole[2:]) for statuses in told.values()), told
        # What was accepted before the first line stands as it had become by then; one of these that had ended by then
        # is told from its beginning all the same, if that was heard. None behind it is missing.
        first_whole = next(n for n, run_id in enumerate(ids) if told.get(run_id) == whole)
        assert all(told.get(run_id) in (whole, whole[1:]) for run_id in ids[first_whole:]), told
        assert first_whole <= count
        assert [told.get(run_id) for run_id in ids[count:]] == [whole] * len(ids[count:]), told


def cursor_now(place: Workspace) -> str:
    with place.client() as client, client.subscribe() as updates:
        assert updates.cursor is not None
        return updates.cursor


def test_ctrl_c_ends_woven_logs_quietly_and_leaves_the_runs_alone(place: Workspace, tmp_path: Path) -> None:
    place.flow("work", f"{COUNTING}; {say('changed')}")
    place.start()
    (run_id,) = dispatch(place, "e1")
    with command(place, tmp_path, "logs", "-f", "--event", "e1", "--stdout") as follower:
        until(lambda: len(follower.out) > 3)
        follower.process.send_signal(signal.SIGINT)
        assert follower.process.wait(60) == 130
        assert follower.err == []
    assert place.call("flow.getRun", runId=run_id)["run"]["status"] == "running"


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (("logs", "-f", "--event", "nope"), 4, "Unknown event: nope"),
        (("logs", "-f", "run_1", "run_2"), 4, "Unknown run: run_1"),
        (("logs",), 2, "Which run?"),
        (("events", "-f", "--after", "x"), 2, "none that an update had"),
    ],
)
def test_what_cannot_be_followed_is_refused_in_one_line(
    place: Workspace, tmp_path: Path, args: tuple[str, ...], code: int, words: str
) -> None:
    place.start()
    with command(place, tmp_path, *args) as follower:
        assert follower.process.wait(60) == code
        (line,) = follower.err
    assert words in line


def test_subscribed_output_is_whole_in_order_and_before_the_runs_end_over_kill_9(place: Workspace) -> None:
    # Characters of two bytes, written byte by byte, so that looks fall between the halves.
    script = (
        "import os, time, pathlib\nfor n in range(60):\n"
        "    for byte in f'ü{n} '.encode():\n        os.write(1, bytes([byte])); time.sleep(0.004)\n"
        "while not pathlib.Path('go').exists(): time.sleep(0.02)\n"
        f"print(); print('FLOW_RESULT {json.dumps({'status': 'changed'})}')\n"
    )
    place.flow("work", script, runner="python")
    place.flow("short", f"echo begin; echo end; {say('changed')}")
    place.start()
    heard: list[UpdateView] = []
    is_ready = threading.Event()

    def listen() -> None:
        with place.client() as client, client.subscribe(["run", "output"], reconnect_s=20) as updates:
            is_ready.set()
            while sum(update.kind == "run" and update.status == "completed" for update in heard) < 3:
                heard.append(next(updates))

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    assert is_ready.wait(60)
    (long_run,) = dispatch(place, "e1")
    until(lambda: sum(update.kind == "output" for update in heard) > 4, what="output")
    (before,) = dispatch(place, "e2", "short.go")
    place.kill()
    place.start()
    (after,) = dispatch(place, "e3", "short.go")
    until(lambda: any(u.run_id == after and u.status == "completed" for u in heard), what="the short run's end")
    (place.path / "flows/work/go").touch()
    thread.join(60)
    assert not thread.is_alive()
    result = 'FLOW_RESULT {"status": "changed"}\n'
    expected = {long_run: "".join(f"ü{n} " for n in range(60)) + f"\n{result}"}
    expected |= dict.fromkeys((before, after), f"begin\nend\n{result}")
    for run_id, text in expected.items():
        of_run = [update for update in heard if update.run_id == run_id]
        chunks = [update for update in of_run if update.kind == "output" and update.stream == "stdout"]
        assert "".join(chunk.text for chunk in chunks) == text
        assert [chunk.is_end for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
        assert (of_run[-1].kind, of_run[-1].status) == ("run", "completed")


def test_output_that_was_there_before_subscribing_is_left_out_unless_resumed(place: Workspace) -> None:
    place.flow("work", f"echo old; while [ ! -e go ]; do sleep 0.02; done; echo new; {say('changed')}")
    place.start()
    start = cursor_now(place)
    (run_id,) = dispatch(place, "e1")
    # What a step has printed is in a pipe first: it is there once the keeper has written it down.
    until(lambda: place.call("flow.readOutput", runId=run_id)["text"] == "old\n", what="the old output")
    with (
        place.client() as client,
        client.subscribe(["output"], run_id=run_id) as fresh,
        client.subscribe(["output"], after=start) as resumed,
    ):
        (place.path / "flows/work/go").touch()
        result = 'FLOW_RESULT {"status": "changed"}\n'
        assert text_to_end(fresh) == f"new\n{result}"
        assert text_to_end(resumed) == f"old\nnew\n{result}"


def text_to_end(updates: Iterator[UpdateView]) -> str:
    text = ""
    for update in updates:
        if update.stream == "stdout":
            text += update.text
            if update.is_end:
                return text
    raise AssertionError("the updates ended")


def test_a_terminal_is_told_what_the_run_waits_for_whose_output_it_follows(place: Workspace) -> None:
    place.flow("work", f"until [ -e go ]; do sleep 0.02; done; {say('changed')}", step="[steps.concurrency]\n")
    place.start()
    (holder,), (waits,) = dispatch(place, "e1"), dispatch(place, "e2")
    seen = bytearray()
    told = f"flowd: work/main ({waits}): waits for {holder} of work/main"
    with ThreadPoolExecutor() as threads:
        follower = threads.submit(on_terminal, "logs", "-f", waits, cwd=place.path, said=seen)
        try:
            until(lambda: follower.done() or told.encode() in seen, what="why there is no output")
        finally:
            (place.path / "flows/work/go").touch()
        said = follower.result(60)
    assert said.splitlines()[0] == told
    assert said.count("waits for") == 1
    assert "FLOW_RESULT" in said
