"""What the judge has found, in figures and sentences."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Verdict:
    """What was found.

    Attributes:
        lost: Acknowledged events or their runs that are not there, or ended as they must not.
        doubled: Attempts that were begun twice, or without a right to.
        overlaps: Attempts that began while an earlier one of their run lived.
        thawed: The same on a host that was frozen whole, which nobody can end.
        keys: Keys that two held.
        revived: Runs that began or went on after their cancel had been acknowledged.
        fenced: Outcomes of attempts that were not theirs to tell.
        gaps: Rows of the journal that the reader did not hear, or twice.
        unheard: Ends that a host did not tell to whoever waited for them there.
        unread: Outputs that a host does not have whole.
        leftovers: Processes.
        errors: Of flowd itself, as its logs have them: what nobody thought of.
        interrupted: Attempts that ended so.
        declared: Those of them that another host declared lost.
        problems: Sentences; none is what is wanted.
    """

    events: int = 0
    runs: int = 0
    lost: int = 0
    doubled: int = 0
    overlaps: int = 0
    thawed: int = 0
    keys: int = 0
    revived: int = 0
    fenced: int = 0
    gaps: int = 0
    unheard: int = 0
    unread: int = 0
    leftovers: int = 0
    errors: int = 0
    interrupted: int = 0
    declared: int = 0
    canceled: int = 0
    waits: int = 0
    read: int = 0
    resent: int = 0
    moves: int = 0
    problems: list[str] = field(default_factory=list)

    def add(self, other: Verdict) -> None:
        """Count another one's with this one's."""
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))
