"""Labels of runs: what of an event becomes one, and what runs are given them."""

import doctest
from types import ModuleType

import pytest

from flowd.domain import instants, labels
from flowd.domain.definition import Definition
from flowd.domain.flow import Flow, Origin, Snapshot
from flowd.domain.queueing import NewRun
from flowd.domain.step import Runner, Step
from flowd.engine import run_labels

ASKED = {"repo": "/payload/repo", "pr": "/payload/pr", "draft": "/payload/draft", "tags": "/payload/tags"}


def test_text_numbers_and_booleans_are_as_they_are_and_all_else_is_json() -> None:
    event = {"payload": {"repo": "a/b c", "pr": 7, "draft": False, "tags": ["x", None]}}
    assert labels.of_event(ASKED, event) == (
        ("repo", "a/b c"), ("pr", "7"), ("draft", "false"), ("tags", '["x",null]'),
    )  # fmt: skip


def test_what_is_null_or_not_there_gives_no_label() -> None:
    assert labels.of_event(ASKED, {"payload": {"repo": None, "pr": ""}}) == (("pr", ""),)
    assert labels.of_event(ASKED, {"payload": 1}) == ()


def test_a_long_value_is_cut_where_it_is_stored_and_where_it_is_looked_for() -> None:
    ((_, value),) = labels.of_event({"repo": "/payload"}, {"payload": "é" * 500})
    assert value == "é" * labels.MAX_VALUE_CHARS
    assert labels.read_wanted(f"repo={'é' * 500}") == ("repo", value)


def _run(flow: str, step: str) -> NewRun:
    return NewRun(f"run-{step}", Definition(flow, 1, "/f", "sha256:0", step, "exec", "run.sh", 1000, 100))


def _snapshot(*steps: Step) -> Snapshot:
    return Snapshot((Flow("f", 1, "/f", Origin.SOURCE, steps, "sha256:0"),))


def test_only_runs_of_steps_that_declare_labels_are_given_any() -> None:
    snapshot = _snapshot(Step("a", Runner.EXEC, "x", labels={"kind": "/type"}), Step("b", Runner.EXEC, "x"))
    event = {"type": "t"}
    given = run_labels.give([_run("f", "a"), _run("f", "b"), _run("gone", "a")], event, snapshot)
    assert [run.labels for run in given] == [(("kind", "t"),), (), ()]


def test_runs_stay_the_same_objects_where_nothing_declares_labels() -> None:
    runs = [_run("f", "a")]
    (given,) = run_labels.give(runs, {}, _snapshot(Step("a", Runner.EXEC, "x")))
    assert given is runs[0]


@pytest.mark.parametrize("module", [labels, instants])
def test_doctests(module: ModuleType) -> None:
    results = doctest.testmod(module)
    assert results.attempted
    assert not results.failed
