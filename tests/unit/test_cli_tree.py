"""How a tree is drawn, and which of its runs decide how it went."""

from typing import Any

from flowd.cli import tree
from flowd_client.views.tree import TreeEventView, read_tree


def run(name: str, status: str = "completed", **members: Any) -> dict[str, Any]:
    return {"id": name, "flowName": "f", "stepName": name.rstrip("2"), "status": status, **members}


def event(name: str, cause: str | None, *runs: dict[str, Any]) -> dict[str, Any]:
    caused = {} if cause is None else {"causedBy": {"runId": cause, "eventId": "?"}}
    return {"id": name, "type": "t", "runs": list(runs), **caused}


def view(*events: dict[str, Any]) -> tuple[TreeEventView, ...]:
    return read_tree({"event": {}, "tree": {"events": list(events)}}).items


def test_below_each_event_stand_its_runs_and_below_each_run_what_it_caused() -> None:
    drawn = tree.drawn(
        view(
            event("root", None, run("a"), run("b", "failed", error="Step f/b exited with 3\nmore")),
            event("x", "a", run("c")),
            event("y", "a"),
            event("z", "c", run("d")),
        )
    )
    assert [f"{row.label} {row.status}".rstrip() for row in drawn] == [
        "root",
        "├─ f/a completed",
        "│  ├─ x",
        "│  │  └─ f/c completed",
        "│  │     └─ z",
        "│  │        └─ f/d completed",
        "│  └─ y",
        "└─ f/b failed",
    ]


def test_a_rows_end_has_the_runs_id_and_what_is_to_be_said_of_it() -> None:
    _, row = tree.drawn(view(event("root", None, run("b", "failed", error="Step f/b exited with 3\nmore"))))
    assert (row.rest, row.why, row.margin) == ("b", "exited with 3", "      ")


def test_what_was_caused_by_a_run_that_is_not_shown_stands_at_the_end() -> None:
    drawn = tree.drawn(view(event("root", None, run("a")), event("x", "elsewhere", run("c"))))
    assert [row.label for row in drawn] == ["root", "└─ f/a", "x", "└─ f/c"]


def test_the_newest_run_of_each_step_below_these_runs_decides_and_none_beside_them() -> None:
    events = view(
        event("root", None, run("a", "failed"), run("b"), run("a2", replayOf="a")),
        event("x", "a", run("c", "failed"), run("c2", replayOf="c")),
        event("y", "b", run("d", "failed")),
        event("z", "c", run("e")),
    )
    new = [found for found in events[0].runs if found.id == "a2"]
    assert [found.id for found in tree.newest_below(events, new)] == ["a2", "c2", "e"]
