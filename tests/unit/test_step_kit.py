"""What steps import: the context read, and how a step says how it goes and how it ended."""

import ast
import io
import json
import math
import os
import select
import sys
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import flowd_step
from flowd.domain import progress, result
from flowd_step import _printing

SOURCES = sorted(Path(flowd_step.__file__).parent.glob("*.py"))

NEEDS = {
    "build": {"runId": "run_b", "status": "changed", "result": {"status": "changed", "artifact": "a.tar"}},
    "test": {"runId": "run_t", "status": "failed", "result": {"status": "failed", "message": "3 tests failed"}},
    "lint": {"runId": "run_l", "status": "failed"},
}


def given(**flow: Any) -> dict[str, Any]:
    event = {"id": "e1", "type": "demo.hello", "receivedAt": "2026-01-01T00:00:00.000Z", "payload": {"name": "Ada"}}
    known = {"name": "demo", "version": 2, "root": "/flows/demo", "step": "hello", "event": event}
    runtime = {"eventId": "e1", "runId": "run_1", "attemptId": "run_1", "attempt": 3, "replay": True}
    return {"flow": {**known, **flow}, "runtime": runtime}


def stdin_is(monkeypatch: pytest.MonkeyPatch, text: str, *, is_terminal: bool = False) -> None:
    stream = io.TextIOWrapper(io.BytesIO(text.encode()))
    monkeypatch.setattr(stream, "isatty", lambda: is_terminal)
    monkeypatch.setattr(sys, "stdin", stream)


def test_a_step_knows_its_flow_its_event_and_its_run() -> None:
    step = flowd_step.context(given(config={"style": "short"}))
    assert (step.name, step.flow.name, step.flow.version, step.flow.root) == ("hello", "demo", 2, "/flows/demo")
    assert (step.event.id, step.event.type, step.event.payload) == ("e1", "demo.hello", {"name": "Ada"})
    assert (step.event.source, step.event.occurred_at) == (None, None)
    assert step.event.received_at == "2026-01-01T00:00:00.000Z"
    assert (step.run_id, step.attempt, step.is_replay, step.config) == ("run_1", 3, True, {"style": "short"})
    assert (step.answer, step.round_dir, step.traceparent, dict(step.needs)) == (None, None, None, {})


def test_a_step_knows_its_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWD_FENCE", "41")
    monkeypatch.setenv("FLOWD_STEP_WORKSPACE", "/w")
    context = given()
    context["runtime"] |= {"roundDir": "/r", "answer": {"input": {"tag": "v2"}, "by": {"name": "ada"}, "at": "now"}}
    step = flowd_step.context(context)
    assert (step.fence, step.workspace, step.round_dir) == (41, Path("/w"), Path("/r"))
    assert step.answer is not None
    assert (step.answer.input, step.answer.by, step.answer.at) == ({"tag": "v2"}, {"name": "ada"}, "now")


def test_needs_are_found_by_name_and_by_status() -> None:
    needs = flowd_step.context(given(needs=NEEDS)).needs
    assert needs["build"].result["artifact"] == "a.tar"
    assert (needs["build"].run_id, needs["build"].status) == ("run_b", "changed")
    assert [need.name for need in needs.with_status("failed", "canceled")] == ["test", "lint"]
    assert [need.message for need in needs.values()] == [None, "3 tests failed", None]
    with pytest.raises(KeyError, match=r"does not need 'tset'; its needs are: build, test, lint"):
        _ = needs["tset"]


def test_run_returns_what_its_step_says_and_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    step = flowd_step.context(given())
    step.emit("notes.written", {"path": "NOTES.md"})
    step.emit("done", id="done-1", source="hello")
    assert step.changed("3 commits", artifacts={"path": "NOTES.md"}, count=3) == {
        "status": "changed",
        "message": "3 commits",
        "artifacts": {"path": "NOTES.md"},
        "count": 3,
        "next": [
            {"type": "notes.written", "payload": {"path": "NOTES.md"}},
            {"id": "done-1", "type": "done", "payload": {}, "source": "hello"},
        ],
    }
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("status", [one.value for one in result.ResultStatus])
def test_there_is_a_way_to_end_for_every_status(status: str) -> None:
    assert getattr(flowd_step.context(given()), status)() == {"status": status}
    assert getattr(flowd_step.context(given()), status)("so") == {"status": status, "message": "so"}


def test_an_attempt_may_say_when_the_next_one_is_due() -> None:
    assert flowd_step.context(given()).failed(retry_after_s=1.5) == {"status": "failed", "retryAfterMs": 1500}
    assert flowd_step.context(given()).blocked("busy", retry_after_s=60)["retryAfterMs"] == 60_000


@pytest.mark.parametrize("wrong", [math.nan, math.inf, "5", timedelta(seconds=5)])
def test_what_is_no_number_of_seconds_is_refused_in_a_sentence(wrong: Any) -> None:
    step = flowd_step.context(given())
    with pytest.raises(ValueError, match="retry_after_s is a number of seconds, and not"):
        step.failed("down", retry_after_s=wrong)
    assert step.failed("down", retry_after_s=5)["retryAfterMs"] == 5000


def test_a_step_ends_once() -> None:
    step = flowd_step.context(given())
    step.failed("no tag")
    with pytest.raises(flowd_step.EndedError, match="has ended as failed already, and cannot end as completed"):
        step.completed()
    with pytest.raises(flowd_step.EndedError, match="cannot emit an event"):
        step.emit("late")


def test_what_is_no_result_is_refused_and_the_step_may_still_end() -> None:
    step = flowd_step.context(given())
    for bad in (math.nan, {1, 2}, "x" * 1024 * 1024):
        with pytest.raises(ValueError, match="the result"):
            step.completed(bad=bad)
    with pytest.raises(TypeError, match="status is no member to give"):
        step.completed(status="failed")
    assert step.completed()["status"] == "completed"


def test_a_script_reads_its_context_and_prints_its_result(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    stdin_is(monkeypatch, json.dumps(given()))
    with flowd_step.context() as step:
        print("working", end=" ")
        step.completed(f"Grüße, {step.event.payload['name']}!")
    said = capfd.readouterr().out.encode()
    found = result.find(lambda at, count: said[at : at + count], len(said))
    assert isinstance(found, result.FlowResult)
    assert dict(found.value) == {"status": "completed", "message": "Grüße, Ada!"}
    assert said.startswith(b"working ")


def test_an_event_is_enough_to_try_a_step_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    stdin_is(monkeypatch, '{"id": "e", "type": "t", "payload": [1]}')
    step = flowd_step.context()
    assert (step.event.payload, step.flow.name, step.name, step.attempt, step.run_id) == ([1], "", "", 1, "")
    assert flowd_step.context({"id": "e", "type": "t"}).event.payload == {}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", r"flowd_step.context\(context\)"),
        ("{", "is no JSON"),
        ("[]", "an event is one with the texts id and type"),
        ('{"flow": {}}', "A context is an object with flow.event"),
        ('{"flow": {"event": {"id": 1, "type": "t"}}}', "A context is an object with flow.event"),
    ],
)
def test_what_is_no_context_is_refused_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, text: str, problem: str
) -> None:
    stdin_is(monkeypatch, text)
    with pytest.raises(flowd_step.ContextError, match=problem):
        flowd_step.context()


def test_a_terminal_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    stdin_is(monkeypatch, "", is_terminal=True)
    with pytest.raises(flowd_step.ContextError, match=r"< event\.json"):
        flowd_step.context()


def test_what_is_raised_is_said_and_goes_on(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    stdin_is(monkeypatch, json.dumps(given()))
    with pytest.raises(LookupError), flowd_step.context():
        raise LookupError("no tag\n  in here")
    assert capfd.readouterr().out == 'FLOW_RESULT {"status":"failed","message":"LookupError: no tag in here"}\n'


def test_the_step_s_own_word_on_what_is_wrong_stands(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    stdin_is(monkeypatch, json.dumps(given()))
    with pytest.raises(flowd_step.EndedError), flowd_step.context() as step:
        step.failed("no tag")
        step.completed()
    assert capfd.readouterr().out == 'FLOW_RESULT {"status":"failed","message":"no tag"}\n'
    stdin_is(monkeypatch, json.dumps(given()))
    with pytest.raises(SystemExit), flowd_step.context():
        sys.exit(3)
    assert capfd.readouterr().out == ""


def test_a_success_after_which_something_is_raised_is_none(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    stdin_is(monkeypatch, json.dumps(given()))
    with pytest.raises(ZeroDivisionError), flowd_step.context() as step:
        step.completed()
        _ = 1 // 0
    assert '"status":"failed","message":"ZeroDivisionError: ' in capfd.readouterr().out.splitlines()[-1]


def shown(capfd: pytest.CaptureFixture[str]) -> list[progress.Progress | None]:
    return [progress.last(line.encode()) for line in capfd.readouterr().out.splitlines(keepends=True)]


def test_progress_is_what_flowd_reads_and_only_changes_are_printed(capfd: pytest.CaptureFixture[str]) -> None:
    step = flowd_step.context(given())
    for number in range(1000):
        step.progress(number, 2000)
    assert shown(capfd) == [progress.Progress(percent) for percent in range(50)]
    step.progress(7, 0, "layer 7")
    step.progress(12.5, message="pulling")
    step.progress(3, 2)
    assert shown(capfd) == [
        progress.Progress(None, "layer 7"),
        progress.Progress(12, "pulling"),
        progress.Progress(100),
    ]


@pytest.mark.parametrize(
    ("done", "total", "percent"),
    [
        (math.nan, None, None),
        (1, math.nan, None),
        (math.inf, math.inf, None),
        (math.inf, 5, 100),
        (-math.inf, 5, 0),
        (10**400, 2 * 10**400, 50),
        (10**400, 1, None),
        (10**400, 0.5, None),
        (Decimal("0.5"), Decimal(1), 50),
        (True, 4, 25),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_no_number_of_progress_fails_a_step(
    done: float, total: float | None, percent: int | None, capfd: pytest.CaptureFixture[str]
) -> None:
    flowd_step.context(given()).progress(done, total, "on its way")
    assert shown(capfd) == [progress.Progress(percent, "on its way")]


@pytest.mark.parametrize(("done", "total"), [("5", 10), (5, "10"), (None, None), ([5], 10), (1j, 10)])
def test_progress_that_is_no_number_is_refused_in_a_sentence(done: object, total: object) -> None:
    with pytest.raises(TypeError, match="progress is told in numbers"):
        flowd_step.context(given()).progress(done, total)  # type: ignore[arg-type]


def test_what_a_step_is_at_is_told_however_long_it_is_and_whatever_it_is(capfd: pytest.CaptureFixture[str]) -> None:
    step = flowd_step.context(given())
    step.progress(1, 2, "y" * 3_000_000)
    step.progress(1, 2, OSError("no space"))  # type: ignore[arg-type]
    first, second = shown(capfd)
    assert first is not None
    assert first.message is not None
    assert first.message.startswith("y" * 500)
    assert second == progress.Progress(50, "no space")


@pytest.mark.parametrize("path", SOURCES, ids=[path.stem for path in SOURCES])
def test_it_is_written_for_python_3_8(path: Path) -> None:
    assert len(SOURCES) == 4
    ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 8))


@pytest.mark.parametrize("said", ["y" * 3_000_000, None])
def test_what_is_raised_is_said_however_much_it_says_or_cannot(
    said: str | None, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    class OddError(Exception):
        def __str__(self) -> str:
            return said  # type: ignore[return-value]

    stdin_is(monkeypatch, json.dumps(given()))
    with pytest.raises(OddError), flowd_step.context():
        raise OddError
    (line,) = capfd.readouterr().out.splitlines()
    assert line.startswith('FLOW_RESULT {"status":"failed","message":"OddError')
    assert len(line) < 20_000


def test_a_result_comes_whole_through_a_pipe_that_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    write, tries = os.write, [BlockingIOError, 3, BlockingIOError, None]

    def full_at_times(number: int, data: bytes) -> int:
        found = tries.pop(0)
        if found is BlockingIOError:
            raise BlockingIOError
        return write(reader_of[number], bytes(data[:found]))

    reader, writer = os.pipe()
    reader_of = {1: writer}
    monkeypatch.setattr(_printing.os, "write", full_at_times)
    monkeypatch.setattr(select, "select", lambda *waited: ([], [1], []))
    _printing.write(b"FLOW_RESULT {}\n")
    monkeypatch.undo()
    os.close(writer)
    with open(reader, "rb") as file:
        assert file.read() == b"FLOW_RESULT {}\n"
