"""Timelines: which bars a run has, and where they are."""

from typing import Any

from flowd.page.timeline import on_one_axis, timeline

NOW_MS = 100_000


def at(second: float) -> str:
    return f"1970-01-01T00:{int(second // 60):02}:{second % 60:06.3f}Z"


def attempt(number: int, begin: float, end: float | None, status: str = "completed", **more: Any) -> dict[str, Any]:
    ended = {} if end is None else {"completedAt": at(end)}
    return {"attemptNumber": number, "status": status, "startedAt": at(begin), **ended, **more}


def run(status: str = "completed", *, made: float = 0, attempts: tuple[dict[str, Any], ...] = (), **more: Any) -> Any:
    started = {"startedAt": attempts[0]["startedAt"]} if attempts else {}
    given = {"status": status, "effectiveStatus": status, "needsAttention": False, "createdAt": at(made)}
    return {**given, **started, "attempts": list(attempts), **more}


def bars(*runs: Any) -> list[list[tuple[str, str, float, float]]]:
    drawn = timeline(runs, NOW_MS)
    assert drawn is not None
    return [[(bar.kind, bar.status, bar.left, bar.width) for bar in row.bars] for row in drawn.rows]


def test_nothing_has_no_timeline() -> None:
    assert timeline([], NOW_MS) is None


def test_a_run_waits_and_runs() -> None:
    assert bars(run(attempts=(attempt(1, 5, 10),))) == [[("waits", "", 0, 50), ("runs", "completed", 50, 50)]]


def test_what_goes_on_reaches_to_now() -> None:
    going = run("running", attempts=(attempt(1, 50, None, "running"),))
    assert bars(going) == [[("waits", "", 0, 50), ("runs", "running", 50, 50)]]
    assert bars(run("queued", made=50), going) == [
        [("waits", "", 0, 50), ("runs", "running", 50, 50)],
        [("waits", "", 50, 50)],
    ]


def test_attempts_and_the_wait_between_them_are_told_apart() -> None:
    retried = run(attempts=(attempt(1, 0, 2, "failed"), attempt(2, 8, 10)))
    assert bars(retried) == [[("runs", "failed", 0, 20), ("waits", "", 20, 60), ("runs", "completed", 80, 20)]]


def test_a_bar_ends_when_the_process_did_and_not_when_that_was_noted() -> None:
    noted_late = run(attempts=(attempt(1, 0, 20, durationMs=5000), attempt(2, 20, 100, durationMs=20_000)))
    assert bars(noted_late) == [
        [("runs", "completed", 0, 12.5), ("waits", "", 12.5, 37.5), ("runs", "completed", 50, 50)]
    ]


def test_a_question_lasts_until_it_is_answered_or_until_now() -> None:
    asked: dict[str, Any] = {"attempts": (attempt(1, 0, 20),), "reportedResult": {"status": "needs_intervention"}}
    approved = run(resolution={"at": at(80)}, **asked)
    assert bars(approved) == [[("runs", "asks", 0, 25), ("asks", "asks", 25, 75)]]
    asks = run(needsAttention=True, attempts=(attempt(1, 0, 50),)) | {"effectiveStatus": "needs_intervention"}
    assert bars(asks) == [[("runs", "asks", 0, 50), ("asks", "asks", 50, 50)]]


def test_a_clock_that_was_set_back_makes_no_bar_go_backwards() -> None:
    for row in bars(run(made=10, attempts=(attempt(1, 5, 3), attempt(2, 2, 1)))):
        for _, _, left, width in row:
            assert 0 <= left <= 100
            assert width > 0
            assert left + width <= 100


def test_rows_are_in_the_order_in_which_the_runs_started() -> None:
    late, early, never = (
        run(made=0, attempts=(attempt(1, 9, 10),)),
        run(made=1, attempts=(attempt(1, 2, 3),)),
        run("queued"),
    )
    drawn = timeline([late, never, early], NOW_MS)
    assert drawn is not None
    assert [row.run for row in drawn.rows] == [early, late, never]


def test_rounds_share_an_axis_while_one_follows_soon_after_another() -> None:
    first = [run(made=0, attempts=(attempt(1, 0, 300),))]
    soon = [run(made=590, attempts=(attempt(1, 590, 600),))]
    late = [run(made=1300, attempts=(attempt(1, 1300, 1301),))]
    assert on_one_axis([late, soon, first], NOW_MS) == [[first, soon], [late]]


def test_a_question_that_nobody_answers_keeps_no_axis_open() -> None:
    asks = [run(made=0, needsAttention=True, attempts=(attempt(1, 0, 1),))]
    late = [run(made=90, attempts=(attempt(1, 90, 91),))]
    assert on_one_axis([asks, late], NOW_MS) == [[asks], [late]]
