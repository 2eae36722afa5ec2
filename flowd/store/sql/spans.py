"""Which part of a list was made in a span of time. Lists go by `seq`, and the clock that dates their rows may step."""

from typing import Literal, NamedTuple

from flowd.store.sql.connection import Connection

Kind = Literal["run", "event"]

_BLOCK_BITS, _TICK_BITS = 9, 12
"""As the triggers of the migration have them."""


class Part(NamedTuple):
    """Of a list: from ``low`` on, up to ``high``, which is not in it."""

    low: int
    high: int


def part(db: Connection, kind: Kind, whole: Part, since_ms: int | None, until_ms: int | None) -> Part:
    """The part that has all rows of a list that were made in a span of time. It has few others: those are to be left
    out by their own times."""
    low, high = whole
    if since_ms is not None:
        first = db.execute(
            "SELECT min(block) FROM spans WHERE kind = ? AND last_tick >= ?", (kind, since_ms >> _TICK_BITS)
        ).fetchone()[0]
        low = high if first is None else max(low, first << _BLOCK_BITS)
    if until_ms is not None:
        last = db.execute(
            "SELECT max(block) FROM spans WHERE kind = ? AND first_tick <= ?", (kind, until_ms >> _TICK_BITS)
        ).fetchone()[0]
        high = low if last is None else min(high, (last + 1) << _BLOCK_BITS)
    return Part(low, max(low, high))
