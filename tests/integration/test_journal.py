"""The journal on a real database: bounded, and read in pages that miss nothing."""

import asyncio
from pathlib import Path

from flowd.domain.journal import FlowState, Interest, JournalEntry
from flowd.store.sqlite.store import SqliteStore


async def read_all(store: SqliteStore, after: int, *, limit: int) -> list[JournalEntry]:
    entries: list[JournalEntry] = []
    while True:
        page = await store.journal(Interest(), after=after, limit=limit)
        entries += page.entries
        after = page.reached
        if after == page.newest:
            return entries


def test_the_oldest_entries_beyond_the_bound_are_dropped_and_cursors_go_on(tmp_path: Path) -> None:
    async def fill() -> tuple[list[int], int, int]:
        store = SqliteStore(tmp_path / "flowd.db", max_queued=10, max_journal_rows=500)
        try:
            for n in range(40):
                flows = [FlowState(f"flow{i}", "ok", str(n)) for i in range(50)]
                await store.note_flows(flows, at_ms=n)
            page = await store.journal(Interest(), after=None, limit=0)
            entries = await read_all(store, page.oldest - 1, limit=7)
        finally:
            await store.close()
        return [entry.cursor for entry in entries], page.oldest, page.newest

    cursors, oldest, newest = asyncio.run(fill())
    assert newest == 2000
    assert 500 <= newest + 1 - oldest < 1000
    assert cursors == list(range(oldest, newest + 1))


def test_flows_are_told_once_for_each_difference_also_over_a_restart(tmp_path: Path) -> None:
    async def note(*states: FlowState) -> list[tuple[str | None, str | None]]:
        store = SqliteStore(tmp_path / "flowd.db", max_queued=10)
        try:
            begin = (await store.journal(Interest(), after=None, limit=0)).newest
            await store.note_flows(states, at_ms=1)
            return [(entry.flow_name, entry.status) for entry in await read_all(store, begin, limit=100)]
        finally:
            await store.close()

    fine, other = FlowState("a", "ok", "1"), FlowState("b", "ok", "1")
    assert asyncio.run(note(fine, other)) == [("a", "ok"), ("b", "ok")]
    assert asyncio.run(note(fine, other)) == []
    assert asyncio.run(note(FlowState("a", "stale", "1 broken"), other)) == [("a", "stale")]
    assert asyncio.run(note(FlowState("a", "ok", "2"))) == [("a", "ok"), ("b", "removed")]
