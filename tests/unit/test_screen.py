"""What ``flowd top`` shows, decided without a terminal and without a daemon."""

import doctest
from types import ModuleType
from typing import Any

import pytest
from rich.ansi import AnsiDecoder

from flowd.screen import lines, output_view, section, wanted
from flowd.screen.board import Answers, Board, Section, board_of
from flowd.screen.facts import facts
from flowd.screen.lines import MAX_LINE_BYTES, Lines, coloured
from flowd.screen.output import in_order
from flowd.screen.summary import summary
from flowd.screen.wanted import Wanted, read_wanted
from flowd_client.views.host import read_hosts
from flowd_client.views.output import OutputView
from flowd_client.views.question import read_questions
from flowd_client.views.queue import read_queue
from flowd_client.views.run import RunView, read_run


@pytest.mark.parametrize("module", [wanted, lines, output_view, section], ids=lambda module: module.__name__)
def test_doctests(module: ModuleType) -> None:
    results = doctest.testmod(module)
    assert results.attempted
    assert not results.failed


def a_run(run_id: str = "run_1", **members: Any) -> RunView:
    names = {"id": run_id, "flowName": "release", "stepName": "build", "eventId": "e1", "processStatus": "completed"}
    return read_run({**names, **members})


def ids(board: Board, section: Section) -> list[str]:
    return [row.run.id for row in board.rows[section]]


def test_ended_runs_come_with_the_newest_first_and_each_once() -> None:
    ends = {"run_1": "2026-01-01T00:00:01Z", "run_2": "2026-01-01T00:00:03Z", "run_3": "2026-01-01T00:00:02Z"}
    runs = [a_run(run_id, completedAt=at) for run_id, at in ends.items()]
    board = board_of(Answers(ended=[*runs, *runs]), Wanted())
    assert ids(board, Section.RECENT) == ["run_2", "run_3", "run_1"]


def test_a_run_that_was_canceled_in_the_queue_is_shown_by_when_that_was() -> None:
    never = a_run("run_2", processStatus="canceled", updatedAt="2026-01-01T00:00:05Z")
    board = board_of(Answers(ended=[a_run(completedAt="2026-01-01T00:00:01Z"), never]), Wanted())
    assert ids(board, Section.RECENT) == ["run_2", "run_1"]


def test_a_run_that_asks_is_under_attention_and_not_among_those_that_ended() -> None:
    record = {"id": "run_1", "processStatus": "completed", "resultStatus": "blocked", "flowName": "f", "stepName": "s"}
    questions = read_questions({"questions": [{"run": record, "message": "go?", "waiting": 2, "since": None}]})
    board = board_of(Answers(questions=questions, ended=[read_run(record)]), Wanted())
    assert (ids(board, Section.ATTENTION), ids(board, Section.RECENT)) == (["run_1"], [])
    assert board.rows[Section.ATTENTION][0].said == "go? (2 behind it)"


def test_pauses_are_told_where_nothing_is_queued() -> None:
    queue = read_queue({"runs": [], "ready": 0, "waiting": 0, "pauses": [{"what": "release"}, {"what": "*"}]})
    board = board_of(Answers(queue=queue), Wanted())
    assert board.pauses == ("release", "*")
    assert "paused: release, all flows" in summary(board, "/somewhere").plain


def test_the_summary_tells_what_is_wrong_and_escapes_it() -> None:
    status = {
        "version": "1", "state": "draining", "runs": {"running": 1, "queued": 3}, "waiting": 2,
        "limits": {"maxParallel": 4}, "troubles": [{"what": "hooks", "problem": "no\x1b[2J"}],
        "catalog": {"broken": 1}, "waitingForStorage": 2,
    }  # fmt: skip
    told = summary(board_of(Answers(status=status), Wanted()), "/w\x9b").plain
    words = ("draining", "running 1 of 4", "ready 1", "waiting 2", "hooks: no", "1 broken", "disk is full", "\\x9b")
    assert [word for word in words if word not in told] == []
    assert "\x1b" not in told


def test_the_summary_tells_which_hosts_start_nothing_the_unreachable_ones_first() -> None:
    states = ["ready", "gone", "draining", "unreachable", "ready"]
    hosts = read_hosts(
        {"hosts": [{"name": f"h{n}\x1b", "state": state, "silentMs": 125_000} for n, state in enumerate(states)]}
    )
    board = board_of(Answers(hosts=hosts), Wanted())
    line = summary(board, "/w").plain.splitlines()[2]
    words = (
        "2 of 5 hosts are ready",
        "h3\\x1b unreachable, heard of 2 min ago",
        "h2\\x1b draining",
        "h1\\x1b gone, heard of",
    )
    assert [line.find(word) for word in words] == sorted(line.find(word) for word in words)
    assert line.startswith(words[0])
    many = read_hosts({"hosts": [{"name": f"h{n}", "state": "gone", "this": n == 7} for n in range(9)]})
    assert summary(board_of(Answers(hosts=many), Wanted()), "/w").plain.endswith("and 5 more  this is h7")
    assert "host" not in summary(board_of(Answers(), Wanted()), "/w").plain


def test_each_attempt_is_told_with_its_host() -> None:
    attempts: list[dict[str, Any]] = [{"attemptNumber": 1, "status": "failed", "host": "anna", "durationMs": 1500}]
    assert "host      anna" not in facts(a_run()).plain
    assert facts(a_run(attempts=attempts)).plain.splitlines()[-1].split() == ["host", "anna"]
    attempts.append({"attemptNumber": 2, "status": "running", "host": "bert"})
    run = a_run(attempts=attempts, attemptCount=2, processStatus="running")
    assert "1 failed 1.5s on anna, 2 running on bert" in facts(run).plain
    (row,) = board_of(Answers(running=[run]), Wanted()).rows[Section.RUNNING]
    assert row.said == "attempt 2 · on bert"


@pytest.mark.parametrize(
    ("typed", "fits"),
    [
        ("", True), ("flow=release", True), ("flow=rel", False), ("step=build", True), ("step=release/build", True),
        ("status=failed", True), ("status=completed", False), ("run=run_1", True), ("TIMEOUT e1", True),
        ("timeout nothing", False), ("'timed out'", True), ("'timed out", False),
        ("version=1.2", True), ("version=1.3", False), ("colour=red", False),
    ],
)  # fmt: skip
def test_a_filter_is_names_and_words(typed: str, fits: bool) -> None:
    run = a_run(processStatus="failed", reason="timeout", error="It timed out", labels={"version": "1.2"})
    assert read_wanted(typed).fits(run) is fits


def test_the_daemon_is_asked_for_flow_step_labels_and_a_status_that_there_is() -> None:
    typed = read_wanted("step=release/build version=1.2 status=failed word")
    assert typed.names == {"flow": "release", "step": "build", "labels": {"version": "1.2"}}
    assert (typed.status, read_wanted("status=fai").status) == ("failed", None)
    assert read_wanted("flow=a step=b").names == {"flow": "a", "step": "b"}
    assert read_wanted("word run=run_1").names == {}


def test_one_events_runs_are_meant_whatever_is_typed_beside_it() -> None:
    assert Wanted(event_id="e1").fits(a_run())
    assert not Wanted(event_id="e1", words=("nowhere",)).fits(a_run())
    assert not Wanted(event_id="e").fits(a_run())


def test_colours_are_kept_from_line_to_line_and_nothing_else_is_obeyed() -> None:
    decoder = AnsiDecoder()
    first, second = coloured("\x1b[1;31mred", decoder), coloured("still\x1b[0m not\x1b[5A\x07\x9b", decoder)
    assert [str(span.style) for span in first.spans] == ["bold color(1)"]
    assert [(span.start, span.end) for span in second.spans] == [(0, 5)]
    assert second.plain == "still not\\x07\\x9b"


def test_lines_come_when_they_are_whole_and_the_last_one_at_the_end() -> None:
    found = Lines()
    assert [line.plain for line in found.feed("stdout", b"one\ntw")] == ["  one"]
    assert found.unfinished().plain == "  tw"
    assert [line.plain for line in found.feed("stderr", b"oh\n")] == ["! oh"]
    assert [line.plain for line in found.feed("stdout", b"o\r\n10%\r20%")] == ["  two"]
    assert found.unfinished().plain == "  20%"
    assert [line.plain for line in found.end()] == ["  20%"]
    assert found.end() == []


def test_a_line_without_end_comes_in_pieces_and_progress_needs_no_memory() -> None:
    found = Lines()
    assert [len(line.plain) for line in found.feed("stdout", b"x" * (3 * MAX_LINE_BYTES))] == [MAX_LINE_BYTES + 2] * 2
    assert [len(line.plain) for line in found.end()] == [MAX_LINE_BYTES + 2]
    for percent in range(10_000):
        assert found.feed("stdout", b"%d%%\r" % percent) == []
    assert found.unfinished().plain == "  9999%"


def an_output(data: bytes, offset: int = 0, turns: tuple[tuple[int, int], ...] = (), *, lost: int = 0) -> OutputView:
    end = offset + len(data) + lost
    return OutputView(data, data.decode(), offset, end, end, is_end=True, turns=turns)


def test_both_streams_are_told_in_the_order_in_which_they_were_printed() -> None:
    out = an_output(b"o1o2o3", 10, ((10, 4), (12, 6), (14, 6)))
    assert list(in_order(out, an_output(b"e2e3", 4))) == [
        ("stdout", b"o1"), ("stderr", b"e2"), ("stdout", b"o2"), ("stdout", b"o3"), ("stderr", b"e3"),
    ]  # fmt: skip
    # The part of stderr begins later than the turns do.
    assert list(in_order(out, an_output(b"3", 7))) == [
        ("stdout", b"o1"), ("stdout", b"o2"), ("stdout", b"o3"), ("stderr", b"3"),
    ]  # fmt: skip


def test_where_a_mask_has_moved_the_bytes_nothing_of_either_stream_is_lost() -> None:
    out = an_output(b"***", 0, ((0, 0), (8, 2)), lost=7)
    assert list(in_order(out, an_output(b"e1e2"))) == [("stdout", b"***"), ("stderr", b"e1e2")]
    assert list(in_order(an_output(b""), an_output(b"e"))) == [("stderr", b"e")]


def test_the_facts_of_a_run_name_who_answered_and_leave_out_what_is_not_there() -> None:
    told = facts(
        a_run(
            result={"status": "completed", "message": "done\x1b[2J"}, durationMs=1500,
            resolution={"status": "completed", "by": {"name": "ada"}, "at": "2026-01-01T00:00:00Z", "note": "fine"},
        )
    ).plain  # fmt: skip
    assert "completed by ada at 2026-01-01T00:00:00Z: fine" in told
    assert "after 1.5s" in told
    assert "waits" not in told
    assert "\x1b" not in told
