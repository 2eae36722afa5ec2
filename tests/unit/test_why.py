"""Why a run ended, in one line: the step's own words before flowd's."""

import doctest
from typing import Any

import pytest

from flowd.domain import excerpt, why
from flowd.domain.people import Person, Resolution
from flowd.domain.result import FlowResult
from flowd.domain.run import Attempt, ProcessStatus, Reason, Run

FAILED = ProcessStatus.FAILED


def a_run(status: ProcessStatus, error: str | None = None, **members: Any) -> Run:
    names = {"id": "r", "event_id": "e", "flow_name": "f", "step_name": "s", "flow_version": 1, "runner": "exec"}
    return Run(**names, package_hash="h", created_at_ms=1, updated_at_ms=1, status=status, error=error, **members)


def ended(sentence: str, stderr: str = "", stdout: str = "") -> str:
    return f"Step f/s {sentence}\n{excerpt.excerpt(stderr, stdout)}"


def test_doctests() -> None:
    for module in (excerpt, why):
        results = doctest.testmod(module)
        assert results.attempted
        assert not results.failed


@pytest.mark.parametrize(
    ("stderr", "stdout", "told"),
    [
        ("trying\nno space left on device\n\n", "made 3 files\n", "no space left on device (exit code 1)"),
        ("Traceback:\n  File x\nValueError: bad\n", "", "ValueError: bad (exit code 1)"),
        ("x.mjs:1\nError: gone\n    at f (x.mjs:1:2)\n    at g\n\nNode.js v22.1.0\n", "", "Error: gone (exit code 1)"),
        ("\x1b[1;31mred\x1b[0m\n-----\n", "", "red (exit code 1)"),
        ("10%\r50%\rdied\n", "", "died (exit code 1)"),
        ("", "2 failed, 1 passed\n", "exited with 1; its last words: 2 failed, 1 passed"),
        ("", 'FLOW_RESULT {"status": "changed"}\n', "exited with 1"),
        ("", "", "exited with 1"),
        ("x" * 20_000, "", f"{'…' + 'x' * 498}… (exit code 1)"),
    ],
)
def test_an_exit_code_is_told_after_what_was_printed_last(stderr: str, stdout: str, told: str) -> None:
    assert why.of_run(a_run(FAILED, ended("exited with 1", stderr, stdout), reason=Reason.EXIT)) == told


@pytest.mark.parametrize(
    ("reason", "sentence", "told"),
    [
        (Reason.EXIT, "exited with 127 (command not found)", "x: not found (exit code 127)"),
        (Reason.EXIT, "exited with 1: no memory", "exited with 1: no memory; its last words: x: not found"),
        (Reason.TIMEOUT, "timed out after 5 ms", "timed out after 5 ms; its last words: x: not found"),
        (Reason.SIGNAL, "was ended by SIGSEGV", "was ended by SIGSEGV; its last words: x: not found"),
        (Reason.NO_RESULT, "exited with 0 but printed no FLOW_RESULT", "exited with 0 but printed no FLOW_RESULT"),
        (Reason.BAD_RESULT, "printed a bad FLOW_RESULT: not JSON", "printed a bad FLOW_RESULT: not JSON"),
        (Reason.SPAWN, "could not start: no bun", "could not start: no bun"),
        (Reason.INTERRUPTED, "was interrupted: unseen", "was interrupted: unseen"),
    ],
)
def test_what_flowd_saw_is_told_first_where_it_says_more_than_a_code(reason: Reason, sentence: str, told: str) -> None:
    assert why.of_run(a_run(FAILED, ended(sentence, "x: not found\n"), reason=reason)) == told


def test_a_message_of_the_step_is_told_before_all_else() -> None:
    said = FlowResult("failed", '{"status":"failed","message":"no\\nroom"}')
    run = a_run(FAILED, ended("exited with 1", "boom\n"), reason=Reason.EXIT, result=said)
    assert why.of_run(run) == "no room (exit code 1)"
    assert why.of_run(a_run(ProcessStatus.COMPLETED, result=said)) == "no room"
    assert why.of_run(a_run(ProcessStatus.COMPLETED, result=FlowResult("failed", '{"message":7}'))) is None


def test_a_good_end_has_no_reason_nor_has_what_goes_on() -> None:
    said = FlowResult("changed", '{"status":"changed","message":"done"}')
    assert why.of_run(a_run(ProcessStatus.COMPLETED, result=said)) is None
    assert why.of_run(a_run(ProcessStatus.RUNNING)) is None
    assert why.of_run(a_run(ProcessStatus.QUEUED, ended("exited with 1"))) is None


def test_a_persons_word_is_the_message() -> None:
    word = Resolution("failed", Person("unix", 0, "ada"), 1, "not today")
    said = FlowResult("failed", '{"status":"failed","message":"not today"}')
    assert why.of_run(a_run(ProcessStatus.COMPLETED, resolution=word, result=said)) == "not today"


def test_an_attempt_tells_why_it_ended_though_its_run_goes_on() -> None:
    error = ended("exited with 3", "no route to host\n")
    attempt = Attempt("r", "r", 1, FAILED, "w", 1, reason=Reason.EXIT, error=error)
    assert why.of_attempt(attempt, "f/s") == "no route to host (exit code 3)"
