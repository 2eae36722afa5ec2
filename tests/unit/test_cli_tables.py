"""How lists are laid out on terminals of several widths. Nothing is cut, and what leaves a row leaves in one order."""

import doctest
import re
from types import ModuleType

import pytest

from flowd.cli import printing, run_view, tables, time_words
from flowd.cli.tables import Order, lay_out

RUNS = ("RUN", "STATUS", "STEP", "EVENT", "STARTED", "TOOK", "WHY")
ORDER = Order("WHY", ("EVENT", "TOOK", "STARTED"), frozenset({"STATUS"}))
BESIDE = "RUN STATUS STEP EVENT STARTED TOOK"


@pytest.mark.parametrize("module", [tables, run_view, time_words])
def test_doctests(module: ModuleType) -> None:
    results = doctest.testmod(module)
    assert results.attempted
    assert not results.failed


def a_row(*, status: str = "failed", step: str = "rel/build", event: str = "release-42", why: str = "-") -> list[str]:
    return ["run_0123456789ab", status, step, event, "3 min ago", "1.5s", why]


def drawn(columns: int, *rows: list[str], headers: tuple[str, ...] = RUNS, order: Order = ORDER) -> list[str]:
    return ["".join(text for text, _ in parts) for parts in lay_out(headers, rows, order, columns=columns)]


@pytest.mark.parametrize("why", ["no room", "a reason that has a long tail " * 2, "one of several lines " * 20, "-"])
@pytest.mark.parametrize("status", ["failed", "needs_intervention"])
def test_at_80_the_columns_are_the_same_whatever_is_in_them(why: str, status: str) -> None:
    header, first, *_ = drawn(80, a_row(status=status, why=why), a_row(status="canceled"))
    assert header.split() == BESIDE.split()
    assert first.split()[:4] == ["run_0123456789ab", status, "rel/build", "release-42"]


@pytest.mark.parametrize("columns", [40, 60, 80, 120, 200])
@pytest.mark.parametrize("event", ["e1", "8f0e4a52-6f5c-4d5e-9a51-0f6f8a5a7c11", "x" * 60])
def test_nothing_is_cut_and_no_line_is_too_wide(columns: int, event: str) -> None:
    why = "no space left on the device that keeps the artefacts of all builds (exit code 3)"
    lines = drawn(columns, a_row(event=event, why=why), a_row())
    text = " ".join(" ".join(lines).split())
    for whole in ("run_0123456789ab", "failed", "rel/build", event, why):
        assert whole in text
    assert all(len(line) <= columns for line in lines if event not in line)


@pytest.mark.parametrize(
    ("columns", "header"),
    [
        (120, f"{BESIDE} WHY"),
        (80, BESIDE),
        (60, "RUN STATUS STEP STARTED TOOK"),
        (48, "RUN STATUS STEP STARTED"),
        (40, "RUN STATUS STEP"),
        (30, "RUN STATUS"),
    ],
)
def test_columns_leave_in_the_order_of_their_verb(columns: int, header: str) -> None:
    assert drawn(columns, a_row(why="no room " * 9))[0].split() == header.split()


def test_what_has_left_stands_beneath_behind_its_name_and_a_sentence_without() -> None:
    assert drawn(40, a_row(why="no room")) == [
        "RUN               STATUS  STEP",
        "run_0123456789ab  failed  rel/build",
        "  no room  EVENT release-42",
        "  STARTED 3 min ago  TOOK 1.5s",
    ]


def test_a_sentence_that_is_too_long_stands_beneath_its_row_alone() -> None:
    lines = drawn(120, a_row(why="short"), a_row(why="long " * 20))
    assert lines[1].endswith("1.5s  short")
    assert lines[2].endswith("1.5s")
    assert lines[3].strip() == ("long " * 20).strip()


def test_what_rows_that_follow_each_other_share_is_told_once_beneath_the_last_of_them() -> None:
    order = Order("WHY", ("EVENT",), shared=frozenset({"EVENT"}))
    rows = [["r1", "e" * 30, "no room"], ["r2", "e" * 30, "-"], ["r3", "e" * 31, "-"], ["r4", "e" * 30, "-"]]
    assert drawn(30, *rows, headers=("RUN", "EVENT", "WHY"), order=order) == [
        "RUN",
        "r1",
        "  no room",
        "r2",
        "  EVENT " + "e" * 30,
        "r3",
        "  EVENT " + "e" * 31,
        "r4",
        "  EVENT " + "e" * 30,
    ]


def test_what_rows_share_is_told_of_each_where_it_has_room() -> None:
    order = Order("WHY", ("EVENT",), shared=frozenset({"EVENT"}))
    assert drawn(80, ["r1", "e", "-"], ["r2", "e", "-"], headers=("RUN", "EVENT", "WHY"), order=order)[1:] == [
        "r1   e      -",
        "r2   e      -",
    ]


def test_prose_stands_last_wherever_its_column_is() -> None:
    order = Order("WAITS", ("EVENT",))
    assert drawn(40, ["r", "ready", "now"], headers=("RUN", "WAITS", "SINCE"), order=order) == [
        "RUN  SINCE  WAITS",
        "r    now    ready",
    ]


def test_into_a_pipe_goes_one_line_a_row_with_all_columns_in_their_places(capsys: pytest.CaptureFixture[str]) -> None:
    why = "a reason  with\ntwo lines and a long tail " * 9
    printing.table(RUNS, [a_row(why=why), a_row(event="x" * 90)], prose="WHY", yields=("EVENT",))
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split() == list(RUNS)
    assert [re.split(" {2,}", row) for row in rows] == [a_row(why=" ".join(why.split())), a_row(event="x" * 90)]
