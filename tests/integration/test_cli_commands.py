"""The command as a process, against a daemon whose answers the test writes: exit codes, streams, terminals."""

import base64
import json
import os
import pty
import shlex
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from desk_rig import Desk, accepted, on_terminal, run_of
from scripted_daemon import Call, NoAnswerError, RefusalError

from flowd.cli.main import cli
from flowd_client import errors, wire


def test_runs_as_a_table_and_as_exact_json(desk: Desk) -> None:
    answer = {"runs": [run_of(effectiveStatus="blocked", resultStatus="blocked", future=[1])], "nextCursor": "c9"}
    desk.answers[wire.LIST_RUNS] = answer
    code, out, err = desk.flowd("runs", "--status", "blocked", "--limit", "1")
    assert code == 0
    assert out.splitlines()[1].split() == [
        "run_0123456789ab",
        "blocked",
        "release/publish",
        "e1",
        "2026-01-02T03:04:05.678Z",
        "1.5s",
    ]
    assert "--cursor c9" in err
    assert desk.daemon.calls[0].params == {"status": "blocked", "limit": 1}
    code, out, err = desk.flowd("runs", "--json")
    assert (code, json.loads(out), err) == (0, answer, "")


@pytest.mark.parametrize(
    ("method", "answer", "verb", "options"),
    [
        (wire.LIST_RUNS, {"runs": [run_of()]}, "runs", ["--event", "an id", "--status", "failed", "--flow", "f"]),
        (wire.LIST_EVENTS, {"events": [{"id": "e1", "type": "it's"}]}, "events", ["--type", "it's"]),
    ],
)
def test_the_line_for_more_lists_the_same_of_the_same_daemon(
    desk: Desk, method: str, answer: dict[str, Any], verb: str, options: list[str]
) -> None:
    asked: list[dict[str, Any]] = []

    def pages(call: Call) -> Any:
        asked.append(dict(call.params))
        return {**answer, "nextCursor": "c 9"} if len(asked) == 1 else answer

    desk.answers[method] = pages
    socket = desk.env.pop("FLOWD_SOCKET")
    _, _, err = desk.flowd(verb, *options, "--limit", "1", "--socket", socket, "-w", str(desk.folder))
    program, *words = shlex.split(err.removeprefix("More: "))
    assert program == "flowd"
    code, _, err = desk.flowd(*words)
    assert (code, err) == (0, "")
    assert asked[1] == {**asked[0], "cursor": "c 9"}


def test_a_terminal_is_told_how_a_list_is_made_shorter(desk: Desk) -> None:
    desk.answers[wire.LIST_RUNS] = {"runs": [run_of(), run_of(id="run_2")], "nextCursor": "c9"}
    _, out = on_terminal(desk, "runs")
    assert "These are the newest 2; -n 10 shows fewer." in out
    assert "-n 10" not in on_terminal(desk, "runs", "-n", "2")[1]
    assert "-n 10" not in desk.flowd("runs")[2]


def test_dispatch_reads_stdin_and_options(desk: Desk) -> None:
    desk.answers[wire.DISPATCH] = accepted(run_of("queued"))
    code, out, _ = desk.flowd("dispatch", "-", "--source", "me", "--payload", "[1]", stdin=b'{"id":"e1","type":"t"}')
    assert code == 0
    assert out.startswith("accepted e1: 1 run\n")
    assert desk.daemon.calls[0].params == {"event": {"id": "e1", "type": "t", "source": "me", "payload": [1]}}


def test_an_event_that_matches_nothing_is_explained(desk: Desk) -> None:
    desk.answers[wire.DISPATCH] = accepted()
    error = {"path": "$.name", "keyword": "required", "message": "is missing"}
    steps = [
        {"flow": "f", "step": "other", "matches": False, "reason": "type", "triggerType": "u"},
        {"flow": "f", "step": "near", "matches": False, "reason": "schema", "schema": "s.json", "errors": [error]},
    ]
    desk.answers[wire.EXPLAIN] = {"eventId": "e1", "type": "t", "matched": 0, "steps": steps, "broken": []}
    code, out, err = desk.flowd("dispatch", "--type", "t")
    assert (code, out) == (0, "accepted e1: 0 runs\n")
    assert err.splitlines() == [
        "flowd: No step matches, so nothing runs. Nearest:",
        "  f/near: the payload does not fit s.json:",
        "      $.name required: is missing",
        "`flowd explain` with the same event says it of all 2 steps.",
    ]
    # A daemon of before an update does not know the wish, and has stored it.
    assert desk.flowd("dispatch", "--type", "t", "--require-match")[0] == 5
    assert desk.daemon.calls[-2].params["requireMatch"] is True


def test_a_conflicting_duplicate_is_warned_about_on_stderr(desk: Desk) -> None:
    conflict = {"status": "duplicate", "matched": 0, "conflict": True, "warning": "Other content."}
    event = {"id": "e1", "runIds": [run_of()["id"]]}
    desk.answers[wire.DISPATCH] = {**accepted(run_of()), **conflict, "event": event}
    desk.answers[wire.GET_EVENT] = {"event": event, "runs": [run_of()]}
    for options in ([], ["--json"]):
        code, out, err = desk.flowd("dispatch", "--type", "t", *options)
        assert (code, err) == (0, "flowd: Other content.\n")
        assert '"duplicate"' in out or out.startswith("duplicate e1: known already with 1 run, nothing started\n")


@pytest.mark.parametrize(
    ("slug", "code"), [("run_not_found", 4), ("run_finished", 5), ("storage_full", 5), ("invalid_params", 2)]
)
def test_a_refusal_is_one_line_on_stderr(desk: Desk, slug: str, code: int) -> None:
    desk.answers[wire.CANCEL_RUN] = RefusalError(wire.FAILURES[slug].code, slug, "It cannot.\nDo this.")
    assert desk.flowd("cancel", "r") == (code, "", "flowd: It cannot. Do this.\n")


def test_an_event_that_may_be_stored_is_told_with_its_id(desk: Desk) -> None:
    def hang_up(call: Call) -> Any:
        call.connection.hang_up()
        raise NoAnswerError

    desk.answers[wire.DISPATCH] = hang_up
    code, out, err = desk.flowd("dispatch", "--type", "t", "--wait")
    (event_id,) = {call.params["event"]["id"] for call in desk.daemon.calls}
    assert (code, out, len(err.splitlines())) == (3, "", 1)
    assert "with the same id" in err
    assert f"Its id: {event_id}." in err


def test_no_daemon_is_exit_3_with_the_remedy(desk: Desk) -> None:
    del desk.env["FLOWD_SOCKET"]
    code, out, err = desk.flowd("status", "-w", str(desk.folder / "ws"))
    assert (code, out) == (3, "")
    assert len(err.splitlines()) == 1
    assert f"flowd serve -w {desk.folder / 'ws'}" in err


@pytest.mark.parametrize(
    "args",
    [
        ["nosuchverb"],
        ["runs", "--nope"],
        ["runs", "--limit", "many"],
        ["runs", "--limit", "0"],
        ["events", "--limit", "501"],
        ["run"],
        ["cancel"],
        ["cancel", "r", "--event", "e"],
        ["dispatch"],
        ["dispatch", "missing.json"],
        ["dispatch", "--type", "t", "--payload", "{"],
        ["dispatch", "--type", "t", "--wait", "--timeout", "soon"],
        ["explain"],
    ],
)
def test_wrong_usage_is_exit_2_in_one_line(desk: Desk, args: list[str]) -> None:
    code, out, err = desk.flowd(*args)
    assert (code, out) == (2, "")
    assert err.startswith("flowd: ")
    assert len(err.splitlines()) == 1
    assert desk.daemon.calls == []


def test_text_is_utf_8_in_a_locale_that_knows_ascii_only(desk: Desk) -> None:
    desk.env |= {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    desk.answers[wire.GET_EVENT] = {"event": {"id": "é€"}}
    desk.answers[wire.DISPATCH] = accepted(run_of())
    code, out, err = desk.flowd("event", "é€")
    assert (code, err) == (0, "")
    assert "é€" in out
    assert desk.flowd("dispatch", "--type", "é", "--payload", '{"a": "€"}')[0] == 0
    found, shown, sent = desk.daemon.calls
    assert found.params == {"prefix": "é€", "of": "event"}
    assert shown.params == {"eventId": "é€", "tree": True}
    assert sent.params["event"].items() >= {"type": "é", "payload": {"a": "€"}}.items()


def test_what_is_no_text_is_refused_before_it_is_sent(desk: Desk) -> None:
    code, _, err = desk.flowd("event", os.fsdecode(b"caf\xe9"))
    assert (code, desk.daemon.calls) == (2, [])
    assert "is not UTF-8" in err


def test_logs_are_the_exact_bytes_on_their_streams(desk: Desk) -> None:
    streams = {"stdout": b"out \xff\xfe\n", "stderr": b"err\x00\n"}

    def part(call: Call) -> dict[str, Any]:
        data = streams[call.params.get("stream", "stdout")]
        begin = call.params["offset"]
        text = base64.b64encode(data[begin : begin + 3]).decode()
        end = min(len(data), begin + 3)
        return {"text": text, "offset": begin, "nextOffset": end, "size": len(data), "eof": end == len(data)}

    desk.answers[wire.READ_OUTPUT] = part
    desk.answers[wire.WAIT_RUN] = desk.answers[wire.GET_RUN] = {"run": run_of()}
    for options in ([], ["-f"], ["-f", "--attempt", "1"]):  # the last one follows, though the run has ended
        with desk.start("logs", "r", *options) as process:
            assert process.communicate(timeout=60) == (streams["stdout"], streams["stderr"])
        assert process.returncode == 0
    with desk.start("logs", "r", "--stderr") as process:
        assert process.communicate(timeout=60) == (b"", streams["stderr"])


def flow(name: str, package_hash: str, *, state: str = "ok") -> dict[str, Any]:
    return {
        "name": name,
        "version": 1,
        "root": f"/f/{name}",
        "state": state,
        "packageHash": package_hash,
        "steps": [],
    }


def broken(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "root": f"/f/{name}",
        "file": f"/f/{name}/flow.toml",
        "line": 3,
        "error": "no name",
        "remedy": "Add it.",
    }


def test_reload_says_what_changed(desk: Desk) -> None:
    desk.answers[wire.LIST_FLOWS] = {"flows": [flow("same", "1"), flow("edited", "1"), flow("gone", "1")]}
    desk.answers[wire.RELOAD] = {
        "flows": [flow("same", "1"), flow("edited", "2"), flow("new", "1")],
        "broken": [broken("bad")],
    }
    code, out, _ = desk.flowd("reload")
    assert code == 0
    assert out.splitlines() == [
        "added new",
        "removed gone",
        "changed edited",
        "broken bad: /f/bad/flow.toml:3: no name. Add it.",
    ]


def test_a_flow_that_is_stale_says_what_is_wrong_on_disk(desk: Desk) -> None:
    desk.answers[wire.LIST_FLOWS] = {
        "flows": [flow("edited", "1", state="stale"), flow("well", "1")],
        "broken": [{**broken("edited"), "stale": True}, broken("bad")],
    }
    desk.answers[wire.QUEUE] = {"runs": []}
    code, out, _ = desk.flowd("flows", "edited")
    assert code == 0
    assert out.splitlines()[-1] == (
        "broken edited: /f/edited/flow.toml:3: no name. Add it. The last good definition stays in force."
    )
    assert "broken" not in desk.flowd("flows", "well")[1]
    code, _, err = desk.flowd("flows", "bad")
    assert (code, "Flow bad is broken: /f/bad/flow.toml:3: no name. Add it." in err) == (4, True), err


def test_a_daemon_that_ends_before_it_answers_has_been_stopped(desk: Desk) -> None:
    def end(call: Call) -> Any:
        desk.daemon.path.unlink()
        call.connection.hang_up()
        raise NoAnswerError

    desk.answers[wire.STATUS] = end
    code, out, err = desk.flowd("stop")
    assert (code, out, err) == (0, "", "No daemon runs here.\n")


def test_ctrl_c_is_quiet_and_130(desk: Desk) -> None:
    asked = threading.Event()

    def silent(call: Call) -> Any:
        asked.set()
        raise NoAnswerError

    desk.answers[wire.STATUS] = silent
    with desk.start("status") as process:
        assert asked.wait(60)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (130, b"", b"")


def test_ctrl_c_in_a_wait_says_that_the_run_goes_on(desk: Desk) -> None:
    asked = threading.Event()

    def running(call: Call) -> Any:
        asked.set()
        raise NoAnswerError

    desk.answers[wire.DISPATCH] = accepted(run_of("queued"))
    desk.answers[wire.WAIT_RUN] = running
    with desk.start("dispatch", "--type", "a", "--wait") as process:
        assert asked.wait(60)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err.decode().startswith("flowd: Event e1 is stored with its runs, and goes on. See `flowd runs --event e1")


def test_a_reader_that_goes_away_is_no_error_to_talk_about(desk: Desk) -> None:
    desk.answers[wire.LIST_RUNS] = {"runs": [run_of(id=f"run_{n}") for n in range(5000)]}
    reader, writer = os.pipe()
    os.close(reader)
    with desk.start("runs", stdout=writer) as process:
        os.close(writer)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (141, b"")


def test_a_narrow_terminal_gets_colours_ages_and_whole_run_ids(desk: Desk) -> None:
    desk.answers[wire.LIST_RUNS] = {"runs": [run_of("failed", eventId="https://example.org/a/very/long/event/id")]}
    code, out = on_terminal(desk, "runs")
    assert code == 0
    assert "run_0123456789ab" in out
    assert "\x1b[31mfailed" in out
    assert " ago" in out


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_no_terminal_is_too_narrow_for_whole_ids_and_sentences(desk: Desk, columns: int) -> None:
    event_id, why = "cli-8f0e4a52-6f5c-4d5e-9a51-0f6f8a5a7c11", "exited with 127 (command not found) and a long tail"
    failed = run_of("failed", id="run_fedcba987654", eventId=event_id, error=f"Step release/publish {why}")
    desk.answers[wire.LIST_RUNS] = {"runs": [failed, run_of(error=None, eventId="e2")]}
    desk.answers[wire.LIST_EVENTS] = {"events": [{"id": event_id, "type": "release.requested", "runIds": ["r"]}]}
    desk.env["NO_COLOR"] = "1"
    _, out = on_terminal(desk, "runs", columns=columns)
    lines = out.splitlines()
    first, second = (next(n for n, text in enumerate(lines) if text.startswith(run)) for run in ("run_f", "run_0"))
    told = " ".join(" ".join(lines[first:second]).split())
    for text in ("run_fedcba987654 failed", event_id, why):
        assert text in told, out
    _, out = on_terminal(desk, "events", columns=columns)
    assert out.splitlines()[1].startswith(event_id)
    assert "release.requested" in out


def test_the_reason_of_a_failure_is_in_the_list_and_first_in_the_run(desk: Desk) -> None:
    failed = run_of("failed", error="Step f/s exited with 3\nstderr:\n  no room", why="no room (exit code 3)")
    desk.answers[wire.LIST_RUNS], desk.answers[wire.GET_RUN] = {"runs": [failed]}, {"run": failed}
    desk.env["NO_COLOR"] = "1"
    _, out = on_terminal(desk, "runs", columns=80)
    assert "no room (exit code 3)" in out
    _, out = on_terminal(desk, "run", "r", columns=80)
    assert out.splitlines()[0].split()[0] == "failed"
    assert out.splitlines()[0].endswith("no room (exit code 3)")


def test_times_are_near_ones_for_a_person_the_clocks_on_demand_and_exact_for_programs(desk: Desk) -> None:
    desk.answers[wire.LIST_RUNS] = {"runs": [run_of(startedAt="2026-01-02T03:04:05.678Z")]}
    desk.env |= {"NO_COLOR": "1", "TZ": "Etc/GMT-3"}
    assert " d ago" in on_terminal(desk, "runs", columns=80)[1]
    assert "2026-01-02 06:04:05" in on_terminal(desk, "runs", "--absolute", columns=80)[1]
    for args in (["runs"], ["runs", "--absolute"]):
        assert "2026-01-02T03:04:05.678Z" in desk.flowd(*args)[1]


def test_a_steps_text_cannot_steer_the_terminal(desk: Desk) -> None:
    desk.answers[wire.GET_RUN] = {"run": run_of("failed", error="bad\x1b]0;owned\x07\x1b[2J")}
    _, out = on_terminal(desk, "run", "r")
    assert "bad" in out
    assert "\x1b]" not in out
    assert "\x1b[2J" not in out


def test_json_on_a_terminal_is_indented(desk: Desk) -> None:
    desk.answers[wire.STATUS] = {"pid": 7}
    _, out = on_terminal(desk, "status", "--json")
    assert out.replace("\r", "") == '{\n  "pid": 7\n}\n'


HEAVY = {"rich", "asyncio", "msgspec", "jsonschema_rs", "sqlite3", "psutil", "shutil", "importlib.metadata"}


@pytest.mark.parametrize("is_terminal", [False, True], ids=["pipe", "terminal"])
@pytest.mark.parametrize("verb", ["runs", "status"])
def test_a_verb_loads_only_what_it_needs(desk: Desk, verb: str, is_terminal: bool) -> None:
    desk.answers |= {wire.LIST_RUNS: {"runs": [run_of()]}, wire.STATUS: {"state": "ready", "uptimeMs": 0}}
    script = (
        f"import sys\nfrom flowd.cli.main import run\nassert run([{verb!r}]) == 0\n"
        f"heavy = {HEAVY} & set(sys.modules)\nassert not heavy, heavy"
    )
    master, slave = pty.openpty()
    out = slave if is_terminal else subprocess.DEVNULL
    subprocess.run([sys.executable, "-c", script], env=desk.env, cwd=desk.folder, check=True, stdout=out)
    os.close(master)
    os.close(slave)


def test_completion_lists_the_verbs(desk: Desk) -> None:
    desk.env |= {"_FLOWD_COMPLETE": "bash_complete", "COMP_WORDS": "flowd re", "COMP_CWORD": "1"}
    code, out, _ = desk.flowd()
    assert code == 0
    assert {line.partition(",")[2] for line in out.splitlines()} == {
        *("replay", "retry", "reload", "resume", "resolve", "reject", "restore"),
    }


@pytest.mark.parametrize("verb", ["runs", "status", "flows", "reload", "drain", "events"])
def test_options_of_all_verbs_stand_before_and_after_the_verb(verb: str, tmp_path: Path) -> None:
    for args in (["-w", str(tmp_path), verb], [verb, "-w", str(tmp_path)], [verb, "--socket", str(tmp_path / "x")]):
        error = CliRunner().invoke(cli, args).exception
        assert isinstance(error, errors.DaemonNotRunningError)
        assert str(tmp_path) in error.message
