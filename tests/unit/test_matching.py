"""Which steps an event starts, in which order, and why the others do not."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowd.domain.event import Event, normalise
from flowd.domain.flow import Flow, Origin, Snapshot
from flowd.domain.matching import explain, judge, matches
from flowd.domain.payload_check import PayloadCheck, SchemaError
from flowd.domain.step import Runner, Step, Trigger

NOW = "2026-01-01T00:00:00.000Z"


def event(event_type: str, payload: object = None) -> Event:
    return normalise({"id": "e1", "type": event_type, "payload": payload}, now=NOW)


Run = Callable[[object], list[SchemaError]]


def step(name: str, event_type: str | None, run: Run | None = None) -> Step:
    check = PayloadCheck(run) if run else None
    trigger = None if event_type is None else Trigger(event_type, "s.json" if check else None, check)
    return Step(name=name, runner=Runner.EXEC, script="x", trigger=trigger)


def flow(name: str, *steps: Step) -> Flow:
    return Flow(name, 1, f"/ws/flows/{name}", Origin.SOURCE, steps, "sha256:0")


def needs_tag(payload: object) -> list[SchemaError]:
    return [] if isinstance(payload, dict) and "tag" in payload else [SchemaError("$", "required", "tag is missing")]


def names(snapshot: Snapshot, that: Event) -> list[str]:
    return [f"{found.flow.name}/{found.step.name}" for found in matches(judge(snapshot, that))]


def test_matches_come_in_discovery_order_whatever_kind_their_trigger_is() -> None:
    snapshot = Snapshot(
        (flow("z", step("exact", "a.b"), step("prefix", "a.*")), flow("b", step("prefix", "a.*"), step("exact", "a.b")))
    )
    assert names(snapshot, event("a.b")) == ["z/exact", "z/prefix", "b/prefix", "b/exact"]


@pytest.mark.parametrize(
    ("trigger", "event_type", "fits"),
    [
        ("a.b", "a.b", True),
        ("a.b", "A.B", False),
        ("a.b", "a.b ", False),
        (" a.b", "a.b", False),
        ("a.*", "a.b", True),
        ("a.*", "a.b.c", True),
        ("a.*", "a.", True),
        ("a.*", "a", False),
        ("a.*", "ab", False),
        ("a*", "ab", False),
        ("a*", "a*", True),
        ("*", "a", False),
    ],
)
def test_a_trigger_is_an_exact_type_or_a_prefix_with_a_dot(trigger: str, event_type: str, *, fits: bool) -> None:
    assert bool(names(Snapshot((flow("f", step("s", trigger)),)), event(event_type))) is fits


def test_a_step_without_a_trigger_is_never_matched() -> None:
    assert names(Snapshot((flow("f", step("s", None)),)), event("a")) == []


def test_the_payload_is_checked_after_the_type() -> None:
    def explode(payload: object) -> list[SchemaError]:
        raise AssertionError(payload)

    snapshot = Snapshot((flow("f", step("other", "b", explode), step("tagged", "a", needs_tag)),))
    assert names(snapshot, event("a", {"tag": 1})) == ["f/tagged"]
    assert names(snapshot, event("a", {})) == []


def test_every_step_explains_itself() -> None:
    snapshot = Snapshot(
        (flow("f", step("none", None), step("other", "b"), step("tagged", "a", needs_tag), step("any", "a.*")),)
    )
    verdicts = explain(snapshot, event("a", {}))
    assert [(verdict.step.name, verdict.why) for verdict in verdicts] == [
        ("none", "no_trigger"),
        ("other", "type"),
        ("tagged", "schema"),
        ("any", "type"),
    ]
    assert verdicts[2].errors == (SchemaError("$", "required", "tag is missing"),)
    assert [verdict.why for verdict in explain(snapshot, event("a.b"))][3] == "matched"


_types = st.sampled_from(["a", "a.b", "a.b.c", "b", "b.a", "a.", "x"])
_triggers = st.one_of(st.none(), _types, _types.map(lambda name: f"{name}.*"))


@given(st.lists(st.lists(_triggers, max_size=4), max_size=4), _types)
def test_match_and_explain_agree(triggers: list[list[str | None]], event_type: str) -> None:
    flows = [
        flow(f"f{number}", *(step(f"s{index}", trigger) for index, trigger in enumerate(of_flow)))
        for number, of_flow in enumerate(triggers)
    ]
    snapshot = Snapshot(tuple(flows))
    that = event(event_type)
    explained = [
        (verdict.flow.name, verdict.step.name) for verdict in explain(snapshot, that) if verdict.why == "matched"
    ]
    assert [(found.flow.name, found.step.name) for found in matches(judge(snapshot, that))] == explained
