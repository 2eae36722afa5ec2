"""What the pages of events and flows make of views: graphs, rounds, and what counts as failed."""

from typing import Any

import pytest

from flowd.api.http.responses import HttpError
from flowd.page import event, flows, rounds
from flowd.page.graph import Edge

NEEDS = {("rel", "build"): (), ("rel", "test"): (), ("rel", "publish"): ("build", "test")}


def run(
    name: str, step: str, status: str = "completed", *, event_id: str = "e1", flow: str = "rel", **more: Any
) -> Any:
    given = {"id": name, "flowName": flow, "stepName": step, "status": status, "effectiveStatus": status}
    made = {"createdAt": "2026-01-01T00:00:00.000Z", "attempts": [], "eventId": event_id, "needsAttention": False}
    return {**given, **made, **more}


def event_of(event_id: str, *runs: Any, cause: str | None = None) -> Any:
    caused = {} if cause is None else {"causedBy": {"runId": cause, "eventId": "e1"}}
    return {"id": event_id, "type": f"type of {event_id}", "runs": list(runs), **caused}


def drawn(*tree: Any) -> tuple[dict[str, Any], set[Edge]]:
    nodes, edges = event.graph(str, tree, NEEDS)
    assert len({node.id for node in nodes}) == len(nodes)
    return {node.id: node for node in nodes}, set(edges)


def test_a_step_hangs_on_its_needs_and_else_on_the_event() -> None:
    nodes, edges = drawn(event_of("e1", run("r1", "build"), run("r2", "test"), run("r3", "publish", "queued")))
    assert edges == {
        Edge("e e1", "r e1 rel/build", "trigger"),
        Edge("e e1", "r e1 rel/test", "trigger"),
        Edge("r e1 rel/build", "r e1 rel/publish", "need"),
        Edge("r e1 rel/test", "r e1 rel/publish", "need"),
    }
    assert nodes["r e1 rel/publish"].link == "/ui/runs/r3"
    assert nodes["e e1"].link is None


def test_a_need_that_was_not_started_leaves_a_step_with_the_event() -> None:
    _, edges = drawn(event_of("e1", run("r3", "publish")))
    assert edges == {Edge("e e1", "r e1 rel/publish", "trigger")}


def test_the_newest_run_of_a_step_is_shown_and_what_an_earlier_one_caused_hangs_on_it() -> None:
    first, again = run("r1", "build", "failed"), run("r2", "build", round=2)
    nodes, edges = drawn(event_of("e1", first, again), event_of("e2", cause="r1"))
    assert nodes["r e1 rel/build"].link == "/ui/runs/r2"
    assert Edge("r e1 rel/build", "e e2", "next") in edges
    assert nodes["e e2"].link == "/ui/events/e2"


def test_flows_are_named_where_there_are_several() -> None:
    nodes, _ = drawn(event_of("e1", run("r1", "build"), run("r2", "note", flow="other")))
    assert nodes["r e1 rel/build"].note == "rel · completed"


def test_how_far_a_running_step_is_stands_in_the_graph() -> None:
    nodes, _ = drawn(event_of("e1", run("r1", "build", "running", progress={"percent": 41.7})))
    assert nodes["r e1 rel/build"].note == "42 %"
    assert nodes["r e1 rel/build"].status == "running"


def test_a_question_counts_as_one_and_only_the_newest_runs_count() -> None:
    asks = run("r2", "test", needsAttention=True)
    tree = [event_of("e1", run("r1", "build", "failed"), run("r3", "build"), asks)]
    assert event.tally(tree) == {"completed": 1, "asks": 1}


def test_what_was_not_started_for_its_need_is_not_retried_by_itself() -> None:
    assert rounds.has_failed(run("r1", "build", "failed"))
    assert not rounds.has_failed(run("r1", "build", "failed", reason="needs_not_met"))
    assert not rounds.has_failed(run("r1", "build", "running"))


def test_what_a_round_causes_is_on_its_timeline_and_a_later_replay_has_its_own() -> None:
    later: dict[str, Any] = {"createdAt": "2026-01-02T00:00:00.000Z", "round": 2}
    caused: dict[str, Any] = {"createdAt": "2026-01-01T00:00:02.000Z", "event_id": "e2", "flow": "after"}
    runs = [run("r1", "build"), run("r2", "test"), run("r3", "build", **later), run("r4", "note", **caused)]
    found, earlier = rounds.charts(runs, 0, 9)
    assert earlier == 0
    assert [(chart.caption, [row.run["id"] for row in chart.drawing.rows]) for chart in found] == [
        ("rel, round 2", ["r3"]),
        ("rel, round 1; after, round 1", ["r1", "r2", "r4"]),
    ]


def step(name: str, *needs: str, trigger: str | None = None) -> Any:
    return {"name": name, "needs": needs, **({} if trigger is None else {"triggerType": trigger})}


def flow_drawn(last: dict[str, Any], *steps: Any, paused: Any = ()) -> tuple[dict[str, Any], set[Edge]]:
    flow = {"name": "rel", "steps": steps}
    nodes, edges = flows.graph(str, flow, last, {what: {} for what in paused}, {"built": ["announce"]})
    return {node.id: node for node in nodes}, set(edges)


def test_a_flow_is_drawn_from_what_starts_it_to_what_follows() -> None:
    built = run("r1", "build", "changed", result={"next": [{"type": "built"}, "no event", {"type": 5}]})
    nodes, edges = flow_drawn({"build": [built]}, step("build", trigger="go"), step("publish", "build", "no such step"))
    assert edges == {
        Edge("t go", "s build", "trigger"),
        Edge("s build", "s publish", "need"),
        Edge("s build", "n built", "next"),
    }
    assert (nodes["n built"].note, nodes["n built"].link) == ("starts announce", "/ui/flows/announce")
    assert nodes["s build"].link == "/ui/runs/r1"
    assert nodes["s publish"].note == "has not run"


def test_a_flow_that_starts_itself_is_drawn_as_a_circle() -> None:
    again = run("r1", "build", result={"next": [{"type": "go"}]})
    nodes, edges = flow_drawn({"build": [again]}, step("build", trigger="go"))
    assert set(nodes) == {"t go", "s build"}
    assert Edge("s build", "t go", "next") in edges


def test_a_paused_step_is_drawn_as_paused() -> None:
    for what in ("*", "rel", "rel/build"):
        nodes, _ = flow_drawn({}, step("build", trigger="go"), step("test", trigger="go"), paused=[what])
        assert "paused" in nodes["s build"].note
        assert ("paused" in nodes["s test"].note) == (what != "rel/build")


def test_what_failed_is_retried_in_the_round_that_it_is_seen_in() -> None:
    first = [run("r1", "build", "failed"), run("r2", "test", "failed"), run("r3", "lint")]
    again = [run("r4", "test", "failed", round=2)]
    failed = rounds.failed_now([event_of("e1", *first, *again), event_of("e2", run("r5", "note", event_id="e2"))])
    assert failed is not None
    assert (failed.runs, failed.where, failed.is_alone) == (2, "round 1 of rel, round 2 of rel", False)
    # Round 2 stands for the newest runs of all steps as they were when it was the last one.
    assert rounds.read(failed.rounds) == [rounds.Round("e1", "rel", 2)]
    assert rounds.failed_now([event_of("e1", run("r1", "build"))]) is None


def test_a_round_that_was_replayed_can_be_retried_by_itself() -> None:
    runs = [run("r1", "test", "failed"), run("r2", "test", "failed", round=2)]
    ((chart,), earlier) = rounds.charts(runs, 0, 9, runs[1:])
    assert earlier == 0
    assert [(one.where, one.is_alone) for one in chart.failed] == [("round 1 of rel", True)]
    assert rounds.read(chart.failed[0].rounds) == [rounds.Round("e1", "rel", 1)]


def test_only_so_many_timelines_are_drawn_each_with_so_many_rows() -> None:
    days = [f"2026-01-{day:02}T00:00:00.000Z" for day in range(1, 8)]
    runs = [run(f"r{number}", f"s{number}", createdAt=day, round=number) for number, day in enumerate(days, 1)]
    crowd = [run(f"c{number}", f"s{number}", createdAt="2026-02-01T00:00:00.000Z", round=9) for number in range(150)]
    found, earlier = rounds.charts([*runs, *crowd], 0, 3)
    assert ([chart.caption for chart in found], earlier) == (["rel, round 9", "rel, round 7", "rel, round 6"], 5)
    assert (len(found[0].drawing.rows), found[0].left_out) == (rounds.ROWS, 150 - rounds.ROWS)


@pytest.mark.parametrize("text", [None, "", "{}", "[[1, 2, 3]]", '[["e", "f"]]', "[" * 9000, '[["e", "f", "1"]]'])
def test_a_form_that_names_no_rounds_is_refused(text: str | None) -> None:
    with pytest.raises(HttpError):
        rounds.read(text)
