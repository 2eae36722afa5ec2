"""Reads ``[retention]``: how long what has ended is kept."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from flowd.domain.retention import STATUSES
from flowd.domain.retention import Rule as KeepingRule
from flowd.formats.typed import About, Meta, Problem, Rule, Struct

MIN_AGE_MS = 60_000
MAX_RULES = 100
_UNITS_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 7 * 86_400_000}
_UNITS_BYTES = {
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}

_Age = Annotated[str, Meta(pattern=r"^\d{1,6}(s|m|h|d|w)$", description='how long, like "90d" or "12h"')]
_Size = Annotated[str, Meta(pattern=r"^\d{1,6}(KB|MB|GB|TB|KiB|MiB|GiB|TiB)$", description='a size, like "5GB"')]
_Number = Annotated[int, Meta(ge=1, le=1_000_000_000)]


def _too_young(said: str) -> Iterator[Problem]:
    if _amount(said, _UNITS_MS) < MIN_AGE_MS:
        yield Problem(f"must be at least a minute, got {said!r}")


def _too_many(said: Sequence[object]) -> Iterator[Problem]:
    if len(said) > MAX_RULES:
        yield Problem(f"has {len(said)} rules; at most {MAX_RULES} are looked at")


_MaxAge = Annotated[
    _Age | None, About("Nothing that ended longer ago: `s`, `m`, `h`, `d` or `w`.", example='"90d"'), Rule(_too_young)
]
_MaxEvents = Annotated[_Number | None, About("The newest so many events.", example="100000")]
_MaxBytes = Annotated[_Size | None, About("So much in all.", example='"5GB"')]


_LEADS = {
    **dict.fromkeys(("max_days", "days", "keep_days", "max_hours", "age", "ttl", "keep", "older_than"), "max_age"),
    **dict.fromkeys(("max_size", "size"), "max_bytes"),
    **dict.fromkeys(("max_count", "count", "max_runs"), "max_events"),
}


class RuleTable(Struct, forbid_unknown_fields=True):
    """``[[retention.rules]]``."""

    LEADS: ClassVar[Mapping[str, str]] = _LEADS
    ANY_OF: ClassVar = ("flow", "status")

    flow: Annotated[
        Annotated[str, Meta(min_length=1, description="a flow's name")] | None,
        About("Only what this flow ran.", example='"release"'),
    ] = None
    status: Annotated[
        Annotated[Literal[STATUSES], Meta(description=f"one of {', '.join(STATUSES)}")] | None,  # type: ignore[valid-type]
        About("Only what ended so.", example='"failed"'),
    ] = None
    max_age: _MaxAge = None
    max_events: _MaxEvents = None
    max_bytes: _MaxBytes = None

    def problems(self) -> Iterator[Problem]:
        """It has to be for something."""
        if self.flow is None and self.status is None:
            yield Problem("needs flow, status or both: limits for all others are [retention]'s own")


class RetentionTable(Struct, forbid_unknown_fields=True):
    """``[retention]``."""

    LEADS: ClassVar[Mapping[str, str]] = _LEADS
    ANY_OF: ClassVar = ("max_age", "max_events", "max_bytes", "rules")

    max_age: _MaxAge = None
    max_events: _MaxEvents = None
    max_bytes: _MaxBytes = None
    rules: Annotated[
        tuple[RuleTable, ...],
        Meta(description="tables, like [[retention.rules]]"),
        About("Other limits for some: `[[retention.rules]]`. The first that fits counts.", default="none"),
        Rule(_too_many),
    ] = ()

    def problems(self) -> Iterator[Problem]:
        """It has to limit something."""
        if not self.rules and self.max_age is None and self.max_events is None and self.max_bytes is None:
            yield Problem("limits nothing: give max_age, max_events or max_bytes, or [[retention.rules]]")


def load(files: Sequence[tuple[Path, RetentionTable | None]]) -> tuple[tuple[KeepingRule, ...], str]:
    """The rules of the strongest file that has some, in the order in which they are tried, and where they are from."""
    for path, table in files:
        if table is not None:
            others = _limits(table) if (table.max_age or table.max_events or table.max_bytes) else KeepingRule()
            return (*map(_limits, table.rules), others), str(path)
    return (), "default"


def _limits(table: RuleTable | RetentionTable) -> KeepingRule:
    of = (table.flow, table.status) if isinstance(table, RuleTable) else (None, None)
    age = None if table.max_age is None else _amount(table.max_age, _UNITS_MS)
    size = None if table.max_bytes is None else _amount(table.max_bytes, _UNITS_BYTES)
    return KeepingRule(*of, age, table.max_events, size)


def _amount(text: str, units: Mapping[str, int]) -> int:
    """The number that a text spells, which fits its pattern.

    >>> _amount("90d", _UNITS_MS), _amount("5GiB", _UNITS_BYTES)
    (7776000000, 5368709120)
    """
    number, unit = re.split(r"(?<=\d)(?=\D)", text)
    return int(number) * units[unit]
