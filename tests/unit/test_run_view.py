"""What `flowd run` shows of one run: why first, and on one screen."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flowd.cli import run_view
from flowd.cli.run_words import why
from flowd.cli.session import Session
from flowd_client.views.run import read_run

SCREEN_LINES = 24


def an_attempt(number: int, **members: Any) -> dict[str, Any]:
    times = {"startedAt": "2026-01-01T00:00:00.000Z", "completedAt": "2026-01-01T00:00:01.500Z", "durationMs": 1500}
    told = {"reason": "exit", "why": "no route to host (exit code 3)", "error": "Step rel/build exited with 3\nstderr:"}
    return {"id": f"run_1:{number}", "attemptNumber": number, "status": "failed", **times, **told, **members}


def a_run(*, attempts: int = 1, **members: Any) -> dict[str, Any]:
    output = [
        {"kind": "stdout", "text": "".join(f"compiling {n}\n" for n in range(50))},
        {"kind": "stderr", "text": "".join(f"warning {n}\n" for n in range(50)) + "no route to host\n"},
    ]
    names = {"id": "run_1", "eventId": "release-42", "flowName": "rel", "stepName": "build", "labels": {"repo": "x"}}
    end = {"processStatus": "failed", "reason": "exit", "exitCode": 3, "why": "no route to host (exit code 3)"}
    error = "Step rel/build exited with 3\nstderr:\n  no route to host"
    made = {"createdAt": "2026-01-01T00:00:00.000Z", "definition": {"retry": {"maxAttempts": 4}}}
    tried = [an_attempt(n + 1) for n in range(attempts)]
    return {**names, **end, **made, "error": error, "output": output, "attempts": tried, **members}


def shown(capsys: pytest.CaptureFixture[str], record: dict[str, Any], *, is_full: bool = False) -> list[str]:
    view = read_run({"run": record})
    run_view.draw(Session(), view, why(view), is_full=is_full)
    both = capsys.readouterr()
    return (both.out + both.err).splitlines()


@pytest.mark.parametrize("attempts", [1, 4, 30])
def test_a_failed_run_fits_a_screen_with_why_first_and_the_output_that_says_it(
    capsys: pytest.CaptureFixture[str], attempts: int
) -> None:
    lines = shown(capsys, a_run(attempts=attempts))
    assert lines[0] == "failed  rel/build  no route to host (exit code 3)"
    assert len(lines) < SCREEN_LINES
    assert "  no route to host" in lines
    assert lines[-2:] == ["All of its output: flowd logs run_1", "All about it: flowd run run_1 --full"]


def test_nothing_is_told_twice(capsys: pytest.CaptureFixture[str]) -> None:
    output = [{"kind": "stdout", "text": 'building\nFLOW_RESULT {"status":"failed","message":"no room"}\n'}]
    result = {"status": "failed", "message": "no room"}
    lines = shown(capsys, a_run(output=output, result=result, why="no room (exit code 1)"))
    assert "\n".join(lines).count("no room") == 1
    assert not any(line.startswith(("status", "process", "reason", "error", "result")) for line in lines)


def test_more_in_a_result_than_its_message_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, a_run(result={"status": "failed", "message": "no room", "free": 3}))
    assert any(line.startswith("result") and '"free": 3' in line for line in lines)


def test_attempts_are_told_of_how_many_and_earlier_ones_with_why(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, a_run(attempts=2))
    assert "attempt  2 of 4" in lines
    assert any(line.startswith("earlier  attempt 1 failed") and "no route to host" in line for line in lines)


def test_a_run_that_is_tried_again_says_why_and_when(capsys: pytest.CaptureFixture[str]) -> None:
    until = (datetime.now(UTC) + timedelta(seconds=40)).isoformat()
    waiting = {"until": until, "why": "retry", "attempt": 2, "of": 4}
    record = a_run(processStatus="queued", reason=None, why=None, error=None, waitingFor=waiting)
    lines = shown(capsys, record)
    assert lines[0] == "queued  rel/build  no route to host (exit code 3)"
    assert any(line.startswith("next try") and line.endswith("attempt 2 of 4") for line in lines)
    assert why(read_run(record)).startswith("attempt 2 of 4 in ")
    assert why(read_run(record)).endswith(", after: no route to host (exit code 3)")


def test_a_run_that_was_skipped_says_when(capsys: pytest.CaptureFixture[str]) -> None:
    end = {"processStatus": "completed", "effectiveStatus": "skipped", "completedAt": "2026-01-01T00:00:02.000Z"}
    lines = shown(capsys, {"id": "run_1", "flowName": "rel", "stepName": "build", **end})
    assert "ended  2026-01-01T00:00:02.000Z" in lines


def test_a_run_that_asks_says_what_and_how_to_answer(capsys: pytest.CaptureFixture[str]) -> None:
    result = {"status": "blocked", "message": "Publish?"}
    record = a_run(processStatus="completed", result=result, why="Publish?", reason=None, error=None, output=[])
    lines = shown(capsys, record)
    assert lines[0] == "blocked  rel/build  Publish?"
    assert any(line.startswith("yes") and line.endswith("flowd approve run_1") for line in lines)


def test_all_of_it_has_each_attempt_with_its_command_and_more_of_the_output(
    capsys: pytest.CaptureFixture[str],
) -> None:
    record = a_run(attempts=2)
    record["attempts"] = [an_attempt(n, command=["sh", "-c", "a b"], pid=7) for n in (1, 2)]
    lines = shown(capsys, record, is_full=True)
    assert lines.count("command  sh -c 'a b'") == 2
    assert "stdout, the last 20 of 50 lines:" in lines
    assert not any("--full" in line for line in lines)
