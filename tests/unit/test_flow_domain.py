"""Flows and snapshots as data."""

from flowd.domain.flow import BrokenPackage, Flow, Origin, Snapshot
from flowd.domain.step import Runner, Step, Trigger

ONE = Step(name="one", runner=Runner.BUN, script="a.ts", trigger=Trigger("a"))
TWO = Step(name="two", runner=Runner.NODE, script="b.ts", trigger=Trigger("a.*"))
FLOW = Flow("f", 1, "/ws/flows/f", Origin.SOURCE, (ONE, TWO), "sha256:0")


def test_a_step_is_found_by_its_name() -> None:
    assert FLOW.step("two") is TWO
    assert FLOW.step("three") is None


def test_a_snapshot_knows_flows_by_name() -> None:
    assert Snapshot((FLOW,)).by_name == {"f": FLOW}


def test_candidates_are_those_whose_type_fits() -> None:
    snapshot = Snapshot((FLOW,))
    assert snapshot.candidates("a") == [(FLOW, ONE)]
    assert snapshot.candidates("a.x") == [(FLOW, TWO)]
    assert snapshot.candidates("b") == []


def test_snapshots_are_equal_by_what_they_hold() -> None:
    left, right = Snapshot((FLOW,)), Snapshot((FLOW,))
    left.candidates("a")  # fills its indexes
    assert left == right
    assert left != Snapshot()


def test_a_compiled_check_does_not_make_triggers_differ() -> None:
    assert Trigger("a", "s.json", lambda _: []) == Trigger("a", "s.json", lambda _: [])


def test_a_broken_package_says_where_and_what_to_do() -> None:
    broken = BrokenPackage("/p", "p", Origin.SOURCE, "/p/flow.toml", "no name", "Add one.", 3)
    assert broken.sentence() == "/p/flow.toml:3: no name. Add one."
