"""When rules of retention are looked at: not while the clock goes strange ways."""

import asyncio
from collections.abc import Sequence

from flowd.domain.retention import Cutoff, Rule
from flowd.domain.stored import KeptEvents, OldEvents, Pruned
from flowd.engine.keeping import Keeping

DAY_MS = 86_400_000


class Clock:
    def __init__(self) -> None:
        self.wall_ms = self.steady = 1_000 * DAY_MS

    def now_ms(self) -> int:
        return self.wall_ms

    def steady_ms(self) -> int:
        return self.steady


class Store:
    """Remembers what it was asked."""

    def __init__(self, old: int = 0) -> None:
        self.cutoffs: list[Sequence[Cutoff]] = []
        self.sizes: list[int] = []
        self._old = tuple(range(old))

    async def old_events(self, cutoffs: Sequence[Cutoff], *, after_seq: int) -> OldEvents:
        self.cutoffs.append(cutoffs)
        return OldEvents(self._old, None)

    async def kept_events(self, rules: Sequence[Rule], *, below_seq: int) -> KeptEvents:
        return KeptEvents((), None)

    async def prune(self, event_seqs: Sequence[int], *_: object, **__: object) -> Pruned:
        self.sizes.append(len(event_seqs))
        return Pruned(len(event_seqs), 0, 0)

    async def give_back(self, *, compact: bool) -> int:
        raise NotImplementedError


def keeping_of(store: Store, clock: Clock, swept: list[bool]) -> Keeping:
    rules = (Rule(max_age_ms=90 * DAY_MS),)
    return Keeping(store=store, remove_output=print, clock=clock, rules=rules, after=lambda: swept.append(True))


def test_a_clock_that_jumps_a_year_ahead_lets_nothing_go() -> None:
    store, clock = Store(), Clock()

    async def look() -> None:
        keeping = keeping_of(store, clock, [])
        assert keeping._is_clock_steady()
        clock.wall_ms += 365 * DAY_MS
        await keeping._look()
        assert store.cutoffs == []
        clock.wall_ms -= 365 * DAY_MS
        await keeping._look()
        assert store.cutoffs == []
        clock.wall_ms += 3_600_000
        clock.steady += 3_600_000
        await keeping._look()
        assert [one.before_ms for (one,) in store.cutoffs] == [910 * DAY_MS + 3_600_000]

    asyncio.run(look())


def test_other_rules_are_looked_at_from_then_on() -> None:
    store, clock = Store(), Clock()

    async def look() -> None:
        keeping = keeping_of(store, clock, [])
        keeping.take(())
        await keeping._look()
        assert (await keeping.apply(dry_run=False), store.cutoffs) == (Pruned(), [])
        keeping.take((Rule(max_age_ms=DAY_MS),))
        await keeping._look()
        assert [one.before_ms for (one,) in store.cutoffs] == [999 * DAY_MS]

    asyncio.run(look())


def test_many_events_go_in_transactions_that_grow_while_they_are_quick() -> None:
    store, swept = Store(old=1_000), []

    async def forget() -> None:
        keeping = keeping_of(store, Clock(), swept)
        assert (await keeping.apply(dry_run=False)).events == 1_000
        assert keeping.last is not None
        assert keeping.last.forgot.events == 1_000

    asyncio.run(forget())
    assert sum(store.sizes) == 1_000
    assert store.sizes[0] == 5
    assert max(store.sizes) <= 400
    assert swept == [True]
