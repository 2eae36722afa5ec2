"""Which steps of a flow are in a round, and what is said of those that are left out."""

import pytest

from flowd.domain import joining, matching
from flowd.domain.event import Event, normalise
from flowd.domain.flow import Flow, Origin, Snapshot
from flowd.domain.payload_check import PayloadCheck, SchemaError
from flowd.domain.step import Runner, Step, Trigger

REFUSING = PayloadCheck(run=lambda _: [SchemaError("$.n", "type", "must be a number")])


def step(name: str, *needs: str, trigger: str | None = None, check: PayloadCheck | None = None) -> Step:
    found = None if trigger is None else Trigger(trigger, None if check is None else "s.json", check)
    return Step(name, Runner.EXEC, "s.sh", trigger=found, needs=needs)


def snapshot(*steps: Step) -> Snapshot:
    flows = (
        Flow("before", 1, "/b", Origin.SOURCE, (step("alone", trigger="go"),), "h"),
        Flow("flow", 1, "/f", Origin.SOURCE, steps, "h"),
    )
    return Snapshot(flows)


def event(kind: str = "go") -> Event:
    return normalise({"id": "e", "type": kind}, now="now")


def started(catalog: Snapshot, kind: str = "go") -> list[str]:
    joined = joining.join(catalog, matching.judge(catalog, event(kind)))
    return [f"{match.flow.name}/{match.step.name}" for match in matching.matches(joined)]


DIAMOND = (
    step("publish", "test", "build"),
    step("test", "checkout"),
    step("build", "checkout"),
    step("checkout", trigger="go"),
)


def test_a_step_is_in_the_round_where_all_its_needs_are_in_the_order_of_the_manifest() -> None:
    found = ["before/alone", "flow/publish", "flow/test", "flow/build", "flow/checkout"]
    assert started(snapshot(*DIAMOND)) == found
    assert started(snapshot(*DIAMOND), "stop") == []


def test_a_trigger_of_its_own_must_match_too() -> None:
    catalog = snapshot(
        step("a", trigger="go.*"), step("b", "a", trigger="go.fast"), step("c", "b"), step("d", "a", trigger="go.*")
    )
    assert started(catalog, "go.fast") == ["flow/a", "flow/b", "flow/c", "flow/d"]
    assert started(catalog, "go.slow") == ["flow/a", "flow/d"]


def left_out(catalog: Snapshot, kind: str) -> dict[str, str]:
    joined = joining.join(catalog, matching.judge(catalog, event(kind)))
    return {share.step or "": share.why for share in joining.left_out_of_rounds(catalog, joined)}


def test_what_is_left_out_of_a_round_is_told_with_the_reason_and_what_has_nothing_to_do_with_it_is_not() -> None:
    catalog = snapshot(
        step("a", trigger="go.*"),
        step("b", "a", trigger="go.fast"),
        step("c", "b", "a"),
        step("d", "a", trigger="go.slow", check=REFUSING),
        step("e", "c", "d"),
        step("x", trigger="other"),
        step("y", "x"),
    )
    assert left_out(catalog, "go.slow") == {
        "b": "its trigger waits for go.fast",
        "c": "it needs b, which is not started",
        "d": "its schema does not fit the payload at $.n",
        "e": "it needs c and d, which are not started",
    }
    assert left_out(catalog, "nothing") == {}


def test_explain_has_a_verdict_for_each_step_and_names_the_needs_that_are_missing() -> None:
    catalog = snapshot(step("a", trigger="go"), step("x", trigger="no"), step("b", "a", "x"), step("c", "a"))
    verdicts = joining.join(catalog, matching.explain(catalog, event()))
    assert [(verdict.step.name, verdict.why, verdict.missing) for verdict in verdicts] == [
        ("alone", "matched", ()),
        ("a", "matched", ()),
        ("x", "type", ()),
        ("b", "needs", ("x",)),
        ("c", "matched", ()),
    ]


@pytest.mark.parametrize(
    ("names", "found"), [(["build"], {"build", "publish"}), (["checkout"], {"checkout", "test", "build", "publish"})]
)
def test_below_a_step_is_all_that_needs_it(names: list[str], found: set[str]) -> None:
    assert joining.below(names, snapshot(*DIAMOND).linked["flow"]) == found
