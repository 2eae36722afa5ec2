"""What runs are made with: the keys and priorities that the packages in force declare."""

import json

from flowd.domain import definition
from flowd.domain.concurrency import Concurrency, WantedKey
from flowd.domain.flow import Flow, Origin, Snapshot
from flowd.domain.queueing import NewRun
from flowd.domain.step import Runner, Step
from flowd.engine.wanted_keys import WantedKeys


class Packages:
    """A catalog that never changes."""

    def __init__(self, *flows: Flow) -> None:
        self.snapshot = Snapshot(flows)

    async def reload(self) -> Snapshot:
        return self.snapshot


def flow(name: str, step: Step, whole: Concurrency | None = None) -> Flow:
    return Flow(name, 1, f"/{name}", Origin.SOURCE, (step,), "sha256:0", concurrency=whole)


def step(asked: Concurrency | None = None, priority: int = 0) -> Step:
    return Step("build", Runner.EXEC, "x", concurrency=asked, priority=priority)


def given(*flows: Flow) -> list[tuple[WantedKey | None, WantedKey | None, int]]:
    """Key, round's key and priority of a run of each flow's step, for an event about the repository ``x``."""
    keys = WantedKeys(Packages(*flows), lambda value: json.dumps(value).encode())
    runs = [NewRun(one.name, definition.of(one, one.steps[0])) for one in flows]
    made = keys.give(runs, {"type": "push", "payload": {"repo": "x"}})
    return [(run.key, run.round_key, run.priority) for run in made]


def test_a_run_gets_what_its_step_and_its_flow_declare_and_the_smallest_limit_of_the_group() -> None:
    repo = Concurrency("g", ("/payload/repo",), 3, "latest")
    assert given(flow("a", step(repo, 7), Concurrency(limit=4)), flow("b", step(Concurrency("g", limit=2)))) == [
        (WantedKey("g", '["x"]', 2, "latest"), WantedKey("a", "[]", 4), 7),
        (WantedKey("g", "[]", 2), None, 0),
    ]


def test_a_group_that_nobody_names_is_the_steps_own() -> None:
    assert given(flow("a", step(Concurrency())), flow("b", step(Concurrency()))) == [
        (WantedKey("a/build", "[]"), None, 0),
        (WantedKey("b/build", "[]"), None, 0),
    ]


def test_a_priority_alone_counts_and_what_declares_nothing_gets_nothing() -> None:
    assert given(flow("a", step(priority=-3)), flow("b", step())) == [(None, None, -3), (None, None, 0)]
    assert given(flow("b", step())) == [(None, None, 0)]
