"""The page about writing packages names every key of flow.toml, and no other one, with its default."""

import re
from pathlib import Path

import pytest

from flowd.catalog import manifest
from flowd.catalog.shapes import FlowTable, ScheduleTable, StepTable, WatchTable
from flowd.catalog.step_shapes import (
    ConcurrencyTable,
    DebounceTable,
    InputTable,
    LimitsTable,
    RetryTable,
    TriggerTable,
)
from flowd.domain.concurrency import Concurrency
from flowd.domain.hosts import DEFAULT_LOST_AFTER_MS
from flowd.domain.retry import Retry
from flowd.domain.step import DEFAULT_GRACE_MS, DEFAULT_TIMEOUT_MS
from flowd.domain.watches import DEFAULT_SETTLE_MS
from flowd.formats.typed import Struct, fields_of

PAGE = Path(__file__).parents[2] / "docs" / "authoring.md"
_TABLE = re.compile(r"^\| key \| default \| \|\n\|[-|]+\|\n((?:\|.*\n)+)", re.MULTILINE)
_ROW = re.compile(r"^\| `(\w+)` \| (.*?) \| ", re.MULTILINE)

TABLES = (
    FlowTable, StepTable, TriggerTable, RetryTable, InputTable, ConcurrencyTable, DebounceTable, LimitsTable,
    ScheduleTable, WatchTable,
)  # fmt: skip


def tables() -> list[dict[str, str]]:
    text = PAGE.read_text(encoding="utf-8")
    return [dict(_ROW.findall(rows)) for rows in _TABLE.findall(text)]


@pytest.mark.parametrize(("index", "shape"), list(enumerate(TABLES)))
def test_a_table_has_the_keys_that_are_read(index: int, shape: type[Struct]) -> None:
    assert sorted(tables()[index]) == sorted(fields_of(shape))


def test_numbers_are_the_defaults_in_force() -> None:
    def number(key: str, index: int) -> float:
        return float(tables()[index][key].strip("`").replace("_", ""))

    step = manifest.parse(
        b'name = "x"\nversion = 1\n[[steps]]\nname = "s"\nrunner = "exec"\nscript = "s"\n[steps.retry]\nmax_attempts=2'
    ).steps[0]
    retry = step.retry
    assert isinstance(retry, Retry)
    assert (number("timeout_ms", 1), number("grace_ms", 1)) == (DEFAULT_TIMEOUT_MS, DEFAULT_GRACE_MS)
    assert (number("lost_after_ms", 1), number("priority", 1)) == (DEFAULT_LOST_AFTER_MS, step.priority)
    for key in ("delay_ms", "factor", "max_delay_ms", "jitter"):
        assert number(key, 3) == getattr(retry, key)
    assert tables()[3]["on"] == f"`{list(retry.on)}`".replace("'", '"')
    assert number("limit", 5) == Concurrency().limit
    assert number("settle_ms", 9) == DEFAULT_SETTLE_MS
