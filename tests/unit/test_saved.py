"""Which steps a saved file concerns."""

import doctest
from collections.abc import Sequence

import pytest

from flowd.domain import saved
from flowd.domain.flow import Flow, Origin
from flowd.domain.step import Runner, Step, Trigger


def flow(*steps: Step, root: str = "/ws/flows/f", **more: object) -> Flow:
    return Flow("f", 1, root, Origin.SOURCE, steps, "sha256:0", **more)  # type: ignore[arg-type]


BUILD = Step("build", Runner.EXEC, "build.sh", trigger=Trigger("go", schema="schemas/go.json"))
TEST = Step("test", Runner.PYTHON, "../shared/test.py", needs=("build",))
SHIP = Step("ship", Runner.EXEC, "/opt/ship.sh", needs=("test",))
FLOW = flow(BUILD, TEST, SHIP)


def test_the_examples_of_the_module_hold() -> None:
    assert doctest.testmod(saved).failed == 0


@pytest.mark.parametrize(
    ("path", "steps", "is_seen"),
    [
        ("/ws/flows/f/build.sh", ["build"], True),
        ("/ws/flows/f/schemas/go.json", ["build"], True),
        ("/ws/flows/shared/test.py", ["test"], True),
        ("/opt/ship.sh", ["ship"], True),
        ("/ws/flows/f/lib/words.py", ["build", "test", "ship"], True),
        ("/ws/flows/f/data.json", [], False),
        ("/ws/flows/f/out.log", [], False),
        ("/ws/flows/fother/build.sh", [], False),
        ("/ws/flows/f/flow.toml", [], True),
    ],
)
def test_a_file_concerns_those_that_name_it(path: str, steps: list[str], is_seen: bool) -> None:
    found = saved.concern(FLOW, FLOW, [path])
    assert (list(found.steps), found.is_seen) == (steps, is_seen)


@pytest.mark.parametrize(
    ("before", "steps"),
    [
        (None, ["build", "test", "ship"]),
        (FLOW, []),
        (flow(BUILD, Step("test", Runner.PYTHON, "old.py", needs=("build",)), SHIP), ["test"]),
        (flow(BUILD, TEST), ["ship"]),
        (flow(BUILD, TEST, SHIP, config={"a": 1}), ["build", "test", "ship"]),
        (flow(BUILD, TEST, SHIP, description="other"), []),
    ],
)
def test_a_manifest_concerns_the_steps_that_it_defines_otherwise(before: Flow | None, steps: list[str]) -> None:
    assert list(saved.concern(FLOW, before, ["/ws/flows/f/flow.toml"]).steps) == steps


def test_example_events_are_told_apart_from_steps() -> None:
    root = FLOW.root
    found = saved.concern(FLOW, FLOW, [f"{root}/events/b.json", f"{root}/event.json", f"{root}/events/a.json"])
    assert found.steps == ()
    assert found.examples == (f"{root}/event.json", f"{root}/events/a.json", f"{root}/events/b.json")


@pytest.mark.parametrize(
    ("steps", "above", "below"),
    [
        (["build"], set(), {"build", "test", "ship"}),
        (["test"], {"build"}, {"test", "ship"}),
        (["ship"], {"build", "test"}, {"ship"}),
        (["build", "ship"], {"test"}, {"build", "test", "ship"}),
    ],
)
def test_what_steps_need_and_what_needs_them(steps: Sequence[str], above: set[str], below: set[str]) -> None:
    assert saved.needed(FLOW, steps) == above
    assert saved.below(FLOW, steps) == below


def test_files_elsewhere_are_those_that_steps_name_outside_of_their_package() -> None:
    assert saved.outside([FLOW]) == {"/ws/flows/shared/test.py", "/opt/ship.sh"}


def test_many_files_are_told_by_a_few_names() -> None:
    paths = [f"{FLOW.root}/{name}.py" for name in "edcba"]
    assert saved.shown(FLOW, paths) == "a.py, b.py, c.py and 2 more"
