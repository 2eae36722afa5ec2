"""Reads ``[retention]``: how long what has ended is kept."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from flowd.domain.retention import STATUSES, Rule
from flowd.formats.typed import Meta, Struct, read_table

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


class _RuleTable(Struct, forbid_unknown_fields=True):
    flow: Annotated[str, Meta(min_length=1, description="a flow's name")] | None = None
    status: Annotated[str, Meta(description=f"one of {', '.join(STATUSES)}")] | None = None
    max_age: _Age | None = None
    max_events: _Number | None = None
    max_bytes: _Size | None = None


class _RetentionTable(Struct, forbid_unknown_fields=True):
    max_age: _Age | None = None
    max_events: _Number | None = None
    max_bytes: _Size | None = None
    rules: Annotated[tuple[dict[str, Any], ...], Meta(description="tables, like [[retention.rules]]")] = ()


def load(files: Sequence[tuple[Path, Mapping[str, Any] | None]]) -> tuple[tuple[Rule, ...], str]:
    """The rules of the strongest file that has some, in the order in which they are tried, and where they are from.

    Raises:
        ValueError: A table cannot be used.
    """
    for path, members in files:
        if members is not None:
            return _read(members, f"{path}: [retention]"), str(path)
    return (), "default"


def _read(members: Mapping[str, Any], where: str) -> tuple[Rule, ...]:
    table = read_table(members, _RetentionTable, where)
    if len(table.rules) > MAX_RULES:
        raise ValueError(f"{where} has {len(table.rules)} rules; at most {MAX_RULES} are looked at.")
    rules = []
    for number, each in enumerate(table.rules, 1):
        its = f"{where.removesuffix('[retention]')}[[retention.rules]] {number}"
        rule = read_table(each, _RuleTable, its)
        if rule.flow is None and rule.status is None:
            raise ValueError(f"{its} needs flow, status or both: limits for all others are [retention]'s own.")
        if rule.status is not None and rule.status not in STATUSES:
            raise ValueError(f"{its}: status must be one of {', '.join(STATUSES)}, got {rule.status[:60]!r}.")
        rules.append(_rule(rule, its, flow=rule.flow, status=rule.status))
    if table.max_age is None and table.max_events is None and table.max_bytes is None:
        if not rules:
            raise ValueError(f"{where} limits nothing: give max_age, max_events or max_bytes, or [[retention.rules]].")
        return (*rules, Rule())
    return (*rules, _rule(table, where))


def _rule(
    table: _RuleTable | _RetentionTable, where: str, *, flow: str | None = None, status: str | None = None
) -> Rule:
    age = None if table.max_age is None else _amount(table.max_age, _UNITS_MS)
    if age is not None and age < MIN_AGE_MS:
        raise ValueError(f"{where}: max_age must be at least a minute, got {table.max_age!r}.")
    size = None if table.max_bytes is None else _amount(table.max_bytes, _UNITS_BYTES)
    return Rule(flow, status, age, table.max_events, size)


def _amount(text: str, units: Mapping[str, int]) -> int:
    """The number that a text spells, which fits its pattern.

    >>> _amount("90d", _UNITS_MS), _amount("5GiB", _UNITS_BYTES)
    (7776000000, 5368709120)
    """
    number, unit = re.split(r"(?<=\d)(?=\D)", text)
    return int(number) * units[unit]
