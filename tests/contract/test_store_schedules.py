"""What every store promises of schedules: a slot counts once, whatever becomes of its event."""

import time

import pytest
from store_rig import STEP, Stores, forget_before, new_event

from flowd.domain.errors import QueueFullError, SlotDecidedError, SlotEarlyError
from flowd.domain.queueing import NewRun
from flowd.domain.slots import Remembered, ScheduleKey, Slot, Told
from flowd.domain.stored import Accepted
from flowd.ports import OpenStore

KEY = ScheduleKey("flow", "night", "rule")
EDITED = ScheduleKey("flow", "night", "edited")
OTHER = ScheduleKey("other", "night", "rule")
BEGIN_MS = int(time.time()) * 1000 - 1_000_000
"""So that all slots here have come by any clock."""


def at(number: int) -> int:
    return BEGIN_MS + number * 1000


async def begin(store: OpenStore, *keys: ScheduleKey, broken: tuple[str, ...] = ()) -> dict[ScheduleKey, Remembered]:
    return await store.begin_schedules(keys, broken=broken, at_ms=BEGIN_MS)


async def tell(
    store: OpenStore, number: int, *, covers_from: int | None = None, key: ScheduleKey = KEY, runs: int = 0
) -> Accepted:
    slot = Slot(key, at(number), at(number if covers_from is None else covers_from))
    made = [NewRun(f"run-{number}-{run}", STEP) for run in range(runs)]
    return await store.accept(new_event(slot.event_id), made, at_ms=at(500), slot=slot)


async def forget_all(store: OpenStore) -> None:
    """All events but the newest."""
    await store.accept(new_event("later"), [], at_ms=at(501))
    assert (await forget_before(store, at(10_000_000))).events


def test_a_slot_is_remembered_with_its_event(stores: Stores) -> None:
    async def tells(store: OpenStore) -> None:
        known = await begin(store, KEY)
        assert known[KEY].spans == ()
        accepted = await tell(store, 5, covers_from=2, runs=1)
        assert not accepted.is_duplicate
        assert [run.id for run in accepted.runs] == ["run-5-0"]

    async def is_there(store: OpenStore) -> None:
        known = (await begin(store, KEY))[KEY]
        assert known.spans == ((at(2), at(5)),)
        assert known.last == (Told(at(5), at(500)),)
        assert (await tell(store, 5)).is_duplicate
        assert await store.event(Slot(KEY, at(5), 0).event_id) is not None

    stores.use(tells)
    stores.use(is_there)


def test_a_slot_counts_once_also_when_its_event_is_forgotten(stores: Stores) -> None:
    async def check(store: OpenStore) -> None:
        await begin(store, KEY)
        for number in (5, 6, 9):
            await tell(store, number, covers_from=number - 1)
        await forget_all(store)
        for number in (5, 6, 9):
            with pytest.raises(SlotDecidedError):
                await tell(store, number)
        assert not (await tell(store, 7)).is_duplicate  # was told by nobody

    stores.use(check)


def test_another_rule_of_the_name_does_not_repeat_a_slot(stores: Stores) -> None:
    async def check(store: OpenStore) -> None:
        await begin(store, KEY, EDITED)  # as where two hosts have two versions of a package
        await tell(store, 5)
        assert (await tell(store, 5, key=EDITED)).is_duplicate
        await tell(store, 6)
        await forget_all(store)
        with pytest.raises(SlotDecidedError):
            await tell(store, 6, key=EDITED)
        assert not (await tell(store, 7, key=EDITED)).is_duplicate
        assert not (await tell(store, 6, key=OTHER)).is_duplicate

    stores.use(check)


def test_what_is_refused_does_not_count(stores: Stores) -> None:
    async def check(store: OpenStore) -> None:
        await begin(store, KEY)
        with pytest.raises(QueueFullError):
            await tell(store, 5, runs=2)
        assert (await begin(store, KEY))[KEY].spans == ()
        assert not (await tell(store, 5, runs=1)).is_duplicate

    stores.use(check, max_queued=1)


def test_a_slot_that_has_not_come_by_the_stores_clock_is_refused(stores: Stores) -> None:
    async def check(store: OpenStore) -> None:
        await begin(store, KEY)
        with pytest.raises(SlotEarlyError):
            await tell(store, 2_000_000)
        assert (await begin(store, KEY))[KEY] == Remembered((await begin(store, KEY))[KEY].since_ms)
        now_ms = await store.now_ms(at(1))
        assert now_ms >= at(1)

    stores.use(check)


def test_a_schedule_that_is_taken_away_and_put_back_begins_now(stores: Stores) -> None:
    async def check(store: OpenStore) -> None:
        first = (await store.begin_schedules([KEY, OTHER], broken=(), at_ms=at(1)))[KEY].since_ms
        await tell(store, 5)
        again = await store.begin_schedules([KEY, OTHER], broken=(), at_ms=at(10))
        assert again[KEY].since_ms == first
        await store.begin_schedules([OTHER], broken=(), at_ms=at(20))
        back = await store.begin_schedules([KEY, OTHER], broken=(), at_ms=at(30))
        assert back[KEY].since_ms > first or back[KEY].since_ms == at(30)
        assert back[KEY].since_ms != first
        assert back[KEY].spans == ((at(5), at(5)),)
        assert back[OTHER].since_ms == again[OTHER].since_ms

    async def broken(store: OpenStore) -> None:
        before = (await store.begin_schedules([KEY], broken=(), at_ms=at(40)))[KEY]
        assert await store.begin_schedules([], broken=("flow",), at_ms=at(50)) == {}
        assert (await store.begin_schedules([KEY], broken=(), at_ms=at(60)))[KEY] == before

    stores.use(check)
    stores.use(broken)


def test_an_edited_schedule_takes_over_what_its_name_was_told(stores: Stores) -> None:
    async def check(store: OpenStore) -> None:
        await begin(store, KEY)
        for number in (1, 2, 3, 4):
            await tell(store, number, covers_from=0)
        edited = (await store.begin_schedules([EDITED], broken=(), at_ms=at(9)))[EDITED]
        assert edited.spans == ((at(0), at(4)),)
        assert [told.slot_ms for told in edited.last] == [at(4), at(3), at(2)]
        again = (await store.begin_schedules([KEY], broken=(), at_ms=at(12)))[KEY]
        assert again.spans == edited.spans

    stores.use(check)


def test_how_events_ended_is_told_for_many(stores: Stores) -> None:
    async def check(store: OpenStore) -> None:
        await begin(store, KEY)
        await tell(store, 5, runs=2)
        await tell(store, 6)
        ids = [Slot(KEY, at(number), 0).event_id for number in (5, 6, 7)]
        ends = await store.ends_of(ids)
        assert ends == {ids[0]: ["queued"], ids[1]: []}  # one step; the newest of its runs
        assert await store.ends_of([]) == {}
        last = await store.told_last([KEY, OTHER])
        assert [told.slot_ms for told in last[KEY]] == [at(6), at(5)]

    stores.use(check)


def test_ten_thousand_schedules_begin_at_once(stores: Stores) -> None:
    keys = [ScheduleKey(f"flow{number % 7}", f"s{number}", "rule") for number in range(10_000)]

    async def check(store: OpenStore) -> None:
        assert len(await begin(store, *keys)) == 10_000
        await tell(store, 5, key=keys[9_999])
        known = await begin(store, *keys[1:])
        assert len(known) == 9_999
        assert known[keys[9_999]].spans == ((at(5), at(5)),)

    stores.use(check)
