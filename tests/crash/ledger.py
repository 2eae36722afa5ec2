"""What the steps noted of themselves: who began and ended, in which order."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from crash.kinds import KINDS, WHOLE_ROUNDS, repository


@dataclass(frozen=True, slots=True)
class Line:
    """A step's note: that it has begun, or that it has reached its end."""

    is_start: bool
    run_id: str
    attempt: int
    name: str


class Ledger:
    """The notes of all steps. They write one line each at a time, so their order is the order in which they did."""

    def __init__(self, path: Path) -> None:
        self.lines = [_parse(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
        self.starts = Counter((line.run_id, line.attempt) for line in self.lines if line.is_start)
        self.ends = Counter((line.run_id, line.attempt) for line in self.lines if not line.is_start)

    def out_of_order(self, event_of: dict[str, str]) -> Iterator[str]:
        """A sentence for each step that began before one ended that it needs.

        Args:
            event_of: The event of each run.
        """
        ended: set[tuple[str, str]] = set()
        ending = {
            (event_of[line.run_id], line.name) for line in self.lines if not line.is_start and line.run_id in event_of
        }
        for line in self.lines:
            event = event_of.get(line.run_id, "")
            if not line.is_start:
                ended.add((event, line.name))
                continue
            for need in KINDS[line.name].needs:
                name = event, f"{line.name.partition('/')[0]}/{need}"
                if name not in ended and (name in ending or KINDS[line.name].when == "success"):
                    yield f"{line.name} of {event} began before {need} had ended"

    def over_limits(self, event_of: dict[str, str]) -> Iterator[str]:
        """A sentence for each step that began although its key was taken. Of those that reached no end nobody knows
        how long they had it."""
        running: dict[tuple[str, str], set[str]] = defaultdict(set)
        for line in self.lines:
            group = KINDS[line.name].group
            if not group or not self.ends[line.run_id, line.attempt]:
                continue
            key = group, repository(event_of.get(line.run_id, ""))
            if not line.is_start:
                running[key].discard(line.run_id)
            else:
                if len(running[key]) >= KINDS[line.name].limit:
                    yield f"{line.run_id} ({line.name}) began beside {sorted(running[key])} of {key}"
                running[key].add(line.run_id)

    def mixed_rounds(self, event_of: dict[str, str]) -> Iterator[str]:
        """A sentence for each round that went on after another one of its key had begun."""
        last: dict[tuple[str, str], str] = {}
        over: set[tuple[str, str]] = set()
        for line in self.lines:
            flow, event = line.name.partition("/")[0], event_of.get(line.run_id, "")
            if flow not in WHOLE_ROUNDS or not line.is_start:
                continue
            key = flow, repository(event)
            if last.get(key, event) != event:
                over.add((flow, last[key]))
            if (flow, event) in over:
                yield f"{line.name} of {event} began after {last[key]} of the same key had"
            last[key] = event


def _parse(line: str) -> Line:
    what, run_id, number, _, name = line.split()
    return Line(what == "S", run_id, int(number), name)
