"""Which steps a replay runs, which of them wait for each other, and what is copied."""

from collections.abc import Sequence
from typing import cast

import pytest

from flowd.domain import definition
from flowd.domain.errors import InvalidParamsError
from flowd.domain.flow import Flow, Origin, Snapshot
from flowd.domain.matching import Match
from flowd.domain.step import Runner, Step
from flowd.engine.new_rounds import Selection
from flowd.engine.steps_in_force import StepsInForce


class Definitions:
    """Stands for the steps in force."""

    def of(self, flow: Flow, step: Step) -> definition.Definition:
        return definition.of(flow, step)


def flow(name: str, **needs: tuple[str, ...]) -> Flow:
    steps = tuple(Step(step, Runner.EXEC, "s.sh", needs=theirs) for step, theirs in needs.items())
    return Flow(name, 1, "/f", Origin.SOURCE, steps, "h")


FLOWS = Snapshot(
    (
        flow("release", checkout=(), test=("checkout",), build=("checkout",), publish=("test", "build")),
        flow("docs", build=(), upload=("build",)),
    )
)
MATCHES = [Match(one, step) for one in FLOWS.flows for step in one.steps]


def selection(steps: Sequence[str] | None = None, from_steps: Sequence[str] | None = None) -> Selection:
    return Selection.of(MATCHES, FLOWS, steps=steps, from_steps=from_steps)


def runs(chosen: Selection) -> dict[str, tuple[tuple[str, ...], tuple[str, ...], bool]]:
    """By ``flow/step``: what the run waits for, what is copied for it, and whether it was named."""
    force = cast("StepsInForce", Definitions())
    made = [chosen.run(match, "id", force, None) for match in chosen.matches]
    return {run.definition.label: (run.needs, run.copied, run.is_named) for run in made}


def test_a_whole_replay_copies_nothing() -> None:
    assert runs(selection())["release/publish"] == (("test", "build"), (), False)
    assert len(selection().matches) == 6


def test_named_steps_alone_have_copies_of_all_that_is_not_named() -> None:
    assert runs(selection(steps=["publish", "release/build"])) == {
        "release/build": ((), ("checkout",), True),
        "release/publish": (("build",), ("test",), True),
    }


def test_from_a_step_is_the_step_and_all_that_need_it_which_are_not_named_themselves() -> None:
    assert runs(selection(from_steps=["release/test"])) == {
        "release/test": ((), ("checkout",), True),
        "release/publish": (("test",), ("build",), False),
    }


def test_a_name_without_its_flow_means_the_steps_of_all_flows() -> None:
    assert list(runs(selection(from_steps=["build"]))) == [
        "release/build",
        "release/publish",
        "docs/build",
        "docs/upload",
    ]


def test_both_together_are_all_of_them() -> None:
    assert list(runs(selection(steps=["upload"], from_steps=["publish"]))) == ["release/publish", "docs/upload"]


def test_what_has_runs_already_is_copied_for_what_has_none() -> None:
    missing = selection().without({("release", "checkout"), ("release", "test"), ("docs", "build")})
    assert runs(missing) == {
        "release/build": ((), ("checkout",), False),
        "release/publish": (("build",), ("test",), False),
        "docs/upload": ((), ("build",), False),
    }


@pytest.mark.parametrize(("steps", "from_steps", "param"), [(["lint"], None, "steps"), (None, ["docs/test"], "from")])
def test_an_unknown_name_is_refused(steps: list[str] | None, from_steps: list[str] | None, param: str) -> None:
    with pytest.raises(InvalidParamsError, match="The event does not match") as refused:
        selection(steps, from_steps)
    assert refused.value.details == {"param": param}
