"""What a command says and exits with that waits for the end of a run."""

import json
import threading
from typing import Any

import pytest
from desk_rig import Desk, accepted, on_terminal, run_of
from scripted_daemon import Call, NoAnswerError, ScriptedDaemon

from flowd_client import wire


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({}, 0),
        ({"resultStatus": "changed", "effectiveStatus": "changed"}, 0),
        ({"resultStatus": "blocked", "effectiveStatus": "blocked"}, 1),
        ({"resultStatus": "needs_intervention", "effectiveStatus": "needs_intervention"}, 1),
        ({"status": "failed", "processStatus": "failed"}, 1),
        ({"status": "canceled", "processStatus": "canceled"}, 1),
    ],
)
def test_waiting_exits_by_how_the_run_ended(desk: Desk, members: dict[str, Any], code: int) -> None:
    desk.answers[wire.DISPATCH] = accepted(run_of("queued"))
    looks = iter([run_of("running"), {**run_of(), **members}])
    desk.answers[wire.WAIT_RUN] = lambda call: {"run": next(looks)}
    got, out, _ = desk.flowd("dispatch", "--type", "t", "--wait", "--json")
    assert got == code
    assert json.loads(out)["runs"] == [{**run_of(), **members}]
    assert json.loads(out)["timedOut"] is False


def test_waiting_gives_up_at_its_timeout(desk: Desk) -> None:
    desk.answers[wire.DISPATCH] = accepted(run_of("queued"))
    desk.answers[wire.WAIT_RUN] = {"run": run_of("running")}
    code, _, err = desk.flowd("dispatch", "--type", "t", "--wait", "--timeout", "200ms")
    assert code == 1
    assert "had not ended after 0.2 s" in err


@pytest.mark.parametrize(
    ("run", "status", "words"),
    [
        ("queued", {"state": "draining"}, "is draining and starts no more runs"),
        ("running", {"state": "ready", "waitingForStorage": 1}, "cannot write to its disk"),
        ("running", {"state": "draining"}, ""),
    ],
)
def test_who_waits_is_told_once_what_for(desk: Desk, run: str, status: dict[str, Any], words: str) -> None:
    looks: list[Call] = []

    def look(call: Call) -> Any:
        looks.append(call)
        return status

    desk.answers |= {wire.DISPATCH: accepted(run_of("queued")), wire.STATUS: look}
    desk.answers[wire.WAIT_RUN] = lambda _: {"run": run_of("completed" if len(looks) == 3 else run)}
    code, _, err = desk.flowd("dispatch", "--type", "t", "--wait")
    assert code == 0
    assert len(err.splitlines()) == bool(words)
    assert words in err


@pytest.mark.parametrize(
    ("waits", "words"),
    [
        (
            {"until": "2199-01-01T00:00:00.000Z", "why": "notBefore"},
            "waiting for run run_1, which starts at 2199-01-01",
        ),
        ({"until": "2199-01-01T00:00:00.000Z", "why": "delay"}, "waiting for run run_1, which starts at 2199-01-01"),
        (
            {"until": "2199-01-01T00:00:00.000Z", "why": "retry", "attempt": 2, "of": 4},
            "waiting for attempt 2 of run run_1, which starts at 2199-01-01",
        ),
        ({"until": "2199-01-01T00:00:00.000Z", "why": "debounce"}, ""),
        ({"until": "2019-01-01T00:00:00.000Z", "why": "delay"}, ""),
    ],
)
def test_who_waits_for_a_run_of_much_later_is_told_when_it_starts(
    desk: Desk, waits: dict[str, Any], words: str
) -> None:
    desk.answers[wire.DISPATCH] = accepted(run_of("queued"))
    looks = iter([*[run_of("queued", id="run_1", waitingFor=waits)] * 3, run_of()])
    desk.answers[wire.WAIT_RUN] = lambda _: {"run": next(looks)}
    code, _, err = desk.flowd("dispatch", "--type", "t", "--wait")
    assert code == 0
    assert len(err.splitlines()) == bool(words)
    assert words in err


@pytest.mark.parametrize(
    ("runs", "outlook"),
    [(["queued"], "they start with the next daemon"), (["queued", "running"], "the queued ones start with"),
     (["running"], "they go on")],
)  # fmt: skip
def test_runs_that_wait_for_the_next_daemon_are_not_said_to_go_on(desk: Desk, runs: list[str], outlook: str) -> None:
    records = {f"run_{n}": run_of(status, id=f"run_{n}") for n, status in enumerate(runs)}
    desk.answers |= {wire.DISPATCH: accepted(*records.values()), wire.STATUS: {"state": "draining"}}
    desk.answers[wire.WAIT_RUN] = lambda call: {"run": records[call.params["runId"]]}
    code, _, err = desk.flowd("dispatch", "--type", "t", "--wait", "--timeout", "100ms")
    assert code == 1
    assert outlook in err.splitlines()[-1]


def test_a_terminal_keeps_the_line_that_says_what_we_wait_for(desk: Desk) -> None:
    desk.answers |= {wire.DISPATCH: accepted(run_of("queued")), wire.STATUS: {"state": "draining"}}
    statuses = iter(("queued", "queued", "completed"))
    desk.answers[wire.WAIT_RUN] = lambda _: {"run": run_of(next(statuses))}
    _, out = on_terminal(desk, "dispatch", "--type", "t", "--wait", columns=120)
    assert out.count("flowd: The daemon is draining and starts no more runs") == 1


def test_waiting_outlives_a_restart_of_the_daemon(desk: Desk) -> None:
    desk.answers[wire.DISPATCH] = accepted(run_of("queued"))
    gone = threading.Event()

    def die(call: Call) -> Any:
        gone.set()
        raise NoAnswerError

    desk.answers[wire.WAIT_RUN] = die
    with desk.start("dispatch", "--type", "t", "--wait") as process:
        assert gone.wait(60)
        desk.daemon.close()
        desk.answers[wire.WAIT_RUN] = {"run": run_of()}
        desk.daemon = ScriptedDaemon(desk.daemon.path, desk.answer)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert b"completed" in out


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("dispatch", "--type", "t"), ("Event e1 is stored", "`flowd runs --event e1`")),
        (("retry", "run_1"), ("The retry of run_1 is stored", "`flowd run run_1`")),
    ],
)
def test_who_waits_for_a_daemon_that_does_not_come_back_is_told_what_is_stored_and_where_to_look(
    desk: Desk, command: tuple[str, ...], words: tuple[str, ...]
) -> None:
    desk.answers[wire.DISPATCH] = accepted(run_of("queued"))
    desk.answers[wire.RETRY_RUN] = {"run": run_of("queued")}

    def die(call: Call) -> Any:
        desk.daemon.path.unlink()  # so that nobody finds it again
        call.connection.hang_up()
        raise NoAnswerError

    desk.answers[wire.WAIT_RUN] = die
    with desk.start(*command, "--wait", "--timeout", "2s") as process:
        # Without --timeout it looks for a daemon for a minute.
        _, err = process.communicate(timeout=45)
    assert process.returncode == 3
    assert all(word in err.decode() for word in words), err
