"""The judge of ``make crash-hosts`` sees each of what it is there to see."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from crash_hosts import verdict
from crash_hosts.faults import Fault
from crash_hosts.found import Verdict
from crash_hosts.verdict import Judge
from crash_hosts.waiter import Told

_LOST = "Step slow was interrupted: its host anna was not heard of for 15 s"


def _result(host: str, attempt: int) -> str:
    return json.dumps({"status": "changed", "host": host, "attempt": attempt})


@dataclass
class Scene:
    """A run of `slow` whose first attempt was lost with anna, and whose second ended well on bert; all is in order."""

    folder: Path
    acknowledged: dict[str, list[str]] = field(default_factory=lambda: {"slow-1-r0": ["run1"]})
    runs: list[list[Any]] = field(
        default_factory=lambda: [["run1", "slow", "main", "slow-1-r0", "completed", None, "changed", 2, None]]
    )
    attempts: list[list[Any]] = field(
        default_factory=lambda: [
            ["run1", 1, "failed", "interrupted", "anna", 100_000, 120_000, None, _LOST],
            ["run1", 2, "completed", None, "bert", 121_000, 123_000, _result("bert", 2), None],
        ]
    )
    notes: list[str] = field(
        default_factory=lambda: [
            "S 100.1 run1 1 anna slow -",
            "S 121.1 run1 2 bert slow -",
            "E 122.9 run1 2 bert slow -",
        ]
    )
    faults: list[Fault] = field(default_factory=lambda: [Fault("daemon frozen", "anna", 101, 125, 125)])
    journal: list[int] = field(default_factory=lambda: [1, 2, 3])
    heard: list[int] = field(default_factory=lambda: [1, 2, 3])
    steps: list[str] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    output: dict[str, Any] = field(default_factory=lambda: {"eof": True, "text": "FLOW_RESULT {}"})
    cancels: dict[str, float] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    lives: list[tuple[Any, ...]] = field(
        default_factory=lambda: [
            ("event", "slow-1-r0", None, None),
            ("run", "run1", "queued", None),
            ("run", "run1", "running", 1),
            ("run", "run1", "queued", 1),
            ("run", "run1", "running", 2),
            ("run", "run1", "completed", 2),
        ]
    )

    def ask(self, statement: str) -> list[Any]:
        rows: list[Any] = [[cursor] for cursor in self.journal] if "FROM journal" in statement else []
        if "j.status IN" in statement:
            return [("run1", "completed", 123_000)]
        if "FROM journal j" in statement:
            return self.lives
        if "FROM runs" in statement:
            rows = self.runs
        return self.attempts if "FROM attempts" in statement else rows

    def judged(self) -> Verdict:
        (self.folder / "ledger").write_text("".join(f"{note}\n" for note in self.notes))
        stage = SimpleNamespace(
            notes=self.folder,
            output=lambda *_: self.output,
            ask=self.ask,
            hosts={"anna": SimpleNamespace(name="anna", steps=lambda: self.steps, errors=lambda: self.errors)},
        )
        sender = SimpleNamespace(acknowledged=self.acknowledged, repeated=0)
        heard = [{"cursor": f"j{cursor}"} for cursor in self.heard]
        reader = SimpleNamespace(heard=heard, moves=0, end=lambda: None, cursor=heard[-1]["cursor"])
        canceller = SimpleNamespace(asked=self.cancels, acknowledged=self.cancels)
        waiter = SimpleNamespace(told=self.told)
        return Judge(stage, sender, canceller, waiter, reader, self.faults).judge()  # type: ignore[arg-type]


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setattr(verdict, "GONE_WITHIN_S", 0.0)
    monkeypatch.setattr(verdict, "HEARD_WITHIN_S", 0.0)
    return Scene(tmp_path)


def test_nothing_is_found_where_all_is_in_order(scene: Scene) -> None:
    found = scene.judged()
    assert found.problems == []
    assert (found.events, found.runs, found.interrupted, found.declared) == (1, 1, 1, 1)


@pytest.mark.parametrize(
    ("counter", "harm"),
    {
        "an event that is not there": ("lost", lambda s: s.acknowledged.update({"slow-2-r0": ["run2"]})),
        "a run that failed": ("lost", lambda s: s.runs[0].__setitem__(slice(4, 7), ["failed", "exit", "failed"])),
        "an interruption out of nothing": ("lost", lambda s: s.faults.clear()),
        "a result without an end": ("lost", lambda s: s.notes.pop()),
        "an event that was not caused": ("lost", lambda s: s.runs[0].__setitem__(1, "tells")),
        "a second start": ("doubled", lambda s: s.notes.append("S 121.2 run1 2 bert slow -")),
        "a start on a host that does not have it": ("doubled", lambda s: s.notes.insert(1, "S 9.0 run1 3 carl slow -")),
        "a start before the loss": ("doubled", lambda s: s.notes.__setitem__(1, "S 119.0 run1 2 bert slow -")),
        "a start after no loss": ("doubled", lambda s: s.attempts[0].__setitem__(3, "exit")),
        "an attempt too many": ("doubled", lambda s: s.notes.__setitem__(1, "S 121.1 run1 2 bert quick -")),
        "an earlier attempt that lives": ("overlaps", lambda s: s.notes.insert(1, "O 121.0 run1 2 bert slow run")),
        "a key of two": ("keys", lambda s: s.notes.insert(1, "O 121.0 run1 2 bert slow r0")),
        "an outcome after the loss": ("fenced", lambda s: s.attempts[0].__setitem__(7, _result("anna", 1))),
        "another's outcome": ("fenced", lambda s: s.attempts[1].__setitem__(7, _result("anna", 1))),
        "a row that was not heard": ("gaps", lambda s: s.heard.remove(2)),
        "a row that was heard twice": ("gaps", lambda s: s.heard.insert(1, 2)),
        "an attempt after its cancel": ("revived", lambda s: s.cancels.update(run1=120.5)),
        "an end long after its cancel": ("revived", lambda s: s.cancels.update(run1=80.0)),
        "a cancel that nobody wanted": (
            "lost",
            lambda s: s.runs[0].__setitem__(slice(4, 7), ["canceled"] * 2 + [None]),
        ),
        "a second end": ("fenced", lambda s: s.lives.append(("run", "run1", "failed", 2))),
        "an end of what did not run": ("fenced", lambda s: s.lives.__setitem__(5, ("run", "run1", "completed", 1))),
        "a beginning of what ran": ("doubled", lambda s: s.lives.pop(3)),
        "a beginning before the acceptance": ("gaps", lambda s: s.lives.pop(1)),
        "an error that nobody thought of": ("errors", lambda s: s.errors.append("KeyError")),
        "an end that is not told": (
            "unheard",
            lambda s: s.told.append(Told("run1", "carl", 400, 420, "running", is_over=False)),
        ),
        "another end that is told": (
            "lost",
            lambda s: s.told.append(Told("run1", "carl", 1, 2, "failed", is_over=True)),
        ),
        "an output without an end": ("unread", lambda s: s.output.update(eof=False)),
        "a process": ("leftovers", lambda s: s.steps.append("sleep")),
    }.values(),
)
def test_each_harm_is_found(scene: Scene, counter: str, harm: Callable[[Scene], Any]) -> None:
    harm(scene)
    found = scene.judged()
    assert getattr(found, counter) >= 1
    assert any(problem.startswith(counter) for problem in found.problems)


def test_what_goes_on_with_a_host_that_was_frozen_whole_is_counted_apart(scene: Scene) -> None:
    scene.faults[0].name = "host frozen"
    scene.notes.insert(1, "O 121.0 run1 2 bert slow run")
    found = scene.judged()
    assert found.problems == []
    assert found.thawed == 1
