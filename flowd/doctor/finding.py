"""What a check found, how bad it is, and what helps."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"
    """flowd works, but something will surprise somebody."""
    FAIL = "fail"
    """flowd does not work, or not as it promises."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report.

    Attributes:
        check: Names the subject, like ``daemon.socket``.
        found: What is the case, in a sentence.
        remedy: What to do about it; None where nothing needs to be done.
        repair: Does it and says what was done; empty when there was nothing to do any more. None where only a person
            can decide. Never touches the database, and truncates nothing.
    """

    check: str
    level: Level
    found: str
    remedy: str | None = None
    repair: Callable[[], str] | None = None


def ok(check: str, found: str) -> Finding:
    """All is well."""
    return Finding(check, Level.OK, found)


def warn(check: str, found: str, remedy: str, repair: Callable[[], str] | None = None) -> Finding:
    """It works, with a flaw."""
    return Finding(check, Level.WARN, found, remedy, repair)


def fail(check: str, found: str, remedy: str) -> Finding:
    """It does not work."""
    return Finding(check, Level.FAIL, found, remedy)
