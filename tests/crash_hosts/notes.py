"""What the steps noted of themselves, in the order in which they did."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Note(NamedTuple):
    """A line of a step.

    Attributes:
        what: ``S`` for its start, ``E`` for its end, ``O`` for a lock that was taken.
        lock: ``run``, or the key's value.
    """

    what: str
    at_s: float
    run_id: str
    attempt: int
    host: str
    name: str
    lock: str


def read(ledger: Path) -> list[Note]:
    """All notes."""
    return [parse(line) for line in ledger.read_text(encoding="utf-8").splitlines()] if ledger.exists() else []


def parse(line: str) -> Note:
    """A note as the script in `crash_hosts.kinds` writes it.

    >>> parse("O 12.5 r1 2 anna keyed r0")
    Note(what='O', at_s=12.5, run_id='r1', attempt=2, host='anna', name='keyed', lock='r0')
    """
    what, at_s, run_id, attempt, host, name, lock = line.split()
    return Note(what, float(at_s), run_id, int(attempt), host, name, lock)
