"""Which slots of a schedule count."""

from collections.abc import Iterator
from itertools import count, takewhile

import pytest

from flowd.domain.agenda import Agenda
from flowd.domain.slots import MAX_SPANS, Plan, ScheduleKey, Slot, Span, covered, is_in

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
YEAR_MS = 365 * DAY_MS
NOON_MS = 20_000 * DAY_MS + 12 * HOUR_MS
KEY = ScheduleKey("f", "s", "r")


class Every:
    """A slot each so many milliseconds; it counts how often it is asked."""

    def __init__(self, ms: int) -> None:
        self.ms = ms
        self.asked = 0

    def slots(self, at_ms: int) -> Iterator[int]:
        self.asked += 1
        return (slot * self.ms for slot in count(at_ms // self.ms + 1))

    def after(self, at_ms: int) -> int:
        return next(self.slots(at_ms))

    def newest(self, after_ms: int, until_ms: int) -> int | None:
        self.asked += 1
        newest = until_ms // self.ms * self.ms
        return newest if newest > after_ms else None


class Never:
    """No slot."""

    def slots(self, _: int) -> Iterator[int]:
        return iter(())

    def after(self, _: int) -> None:
        return None

    def newest(self, _: int, __: int) -> None:
        return None


def plan(ms: int = HOUR_MS, *, since: int = NOON_MS, is_latest: bool = True, spans: tuple[Span, ...] = ()) -> Plan:
    return Plan(KEY, Every(ms), "latest" if is_latest else "none", since, spans)


def told(one: Plan, now_ms: int) -> list[int]:
    """What is told by now, in milliseconds from noon; all of it is taken."""
    due = one.due(now_ms)
    for slot in due:
        one.told(slot, now_ms=now_ms)
    return [slot.slot_ms - NOON_MS for slot in due]


def test_a_new_schedule_begins_now() -> None:
    one = plan(since=NOON_MS + 5)
    assert told(one, NOON_MS + 5) == []
    assert one.next_ms == NOON_MS + HOUR_MS
    assert told(one, NOON_MS + HOUR_MS) == [HOUR_MS]
    assert told(one, NOON_MS + HOUR_MS) == []
    assert one.spans == ((NOON_MS + 5, NOON_MS + HOUR_MS),)


@pytest.mark.parametrize(("is_latest", "expected"), [(True, [5 * HOUR_MS]), (False, [])])
def test_of_missed_slots_the_newest_is_told_once_or_none(is_latest: bool, expected: list[int]) -> None:
    one = plan(is_latest=is_latest)
    assert told(one, NOON_MS + 5 * HOUR_MS + 10 * MINUTE_MS) == expected
    assert told(one, NOON_MS + 5 * HOUR_MS + 20 * MINUTE_MS) == []
    assert one.next_ms == NOON_MS + 6 * HOUR_MS


@pytest.mark.parametrize(("late_ms", "expected"), [(MINUTE_MS, [HOUR_MS]), (MINUTE_MS + 1, [])])
def test_a_slot_of_up_to_a_minute_ago_counts_even_without_catching_up(late_ms: int, expected: list[int]) -> None:
    assert told(plan(is_latest=False), NOON_MS + HOUR_MS + late_ms) == expected


def test_a_slot_that_was_told_is_not_told_by_the_next_daemon() -> None:
    one = plan()
    told(one, NOON_MS + HOUR_MS)
    assert told(plan(spans=one.spans), NOON_MS + HOUR_MS + 10) == []


def test_what_was_left_out_is_no_part_of_a_span() -> None:
    one = plan(is_latest=False, since=NOON_MS)
    assert told(one, NOON_MS + 2 * HOUR_MS + 10 * MINUTE_MS) == []
    assert told(one, NOON_MS + 3 * HOUR_MS) == [3 * HOUR_MS]
    assert not is_in(one.spans, NOON_MS + 2 * HOUR_MS)
    assert is_in(one.spans, NOON_MS + 3 * HOUR_MS)


def test_a_clock_that_jumps_a_year_and_back_neither_silences_nor_doubles() -> None:
    agenda, one = Agenda(), plan()
    agenda.put(one)

    def due(now_ms: int) -> list[int]:
        slots = [slot for due in agenda.due(now_ms) for slot in due]
        for slot in slots:
            one.told(slot, now_ms=now_ms)
        return [slot.slot_ms - NOON_MS for slot in slots]

    assert due(NOON_MS + HOUR_MS) == [HOUR_MS]
    assert due(NOON_MS + YEAR_MS + HOUR_MS + MINUTE_MS) == [YEAR_MS + HOUR_MS]
    assert due(NOON_MS + YEAR_MS + 2 * HOUR_MS) == [YEAR_MS + 2 * HOUR_MS]
    assert due(NOON_MS + HOUR_MS + 10) == []
    assert due(NOON_MS + 2 * HOUR_MS) == [2 * HOUR_MS]
    for hour in range(3, 365 * 24 + 3):
        here = due(NOON_MS + hour * HOUR_MS)
        assert here == ([] if hour in (365 * 24 + 1, 365 * 24 + 2) else [hour * HOUR_MS])
    assert due(NOON_MS + YEAR_MS + 3 * HOUR_MS) == [YEAR_MS + 3 * HOUR_MS]


def test_a_clock_that_is_set_back_a_little_is_waited_for() -> None:
    agenda, one = Agenda(), plan()
    agenda.put(one)
    assert [slot.slot_ms for due in agenda.due(NOON_MS + HOUR_MS) for slot in due] == [NOON_MS + HOUR_MS]
    assert list(agenda.due(NOON_MS + HOUR_MS - 10_000)) == []  # though nobody has taken it yet
    assert agenda.next_ms == NOON_MS + 2 * HOUR_MS


def test_a_schedule_that_began_while_the_clock_was_ahead_goes_on() -> None:
    one = plan(since=NOON_MS + YEAR_MS)
    assert told(one, NOON_MS + 10) == []
    assert told(one, NOON_MS + HOUR_MS) == [HOUR_MS]
    later = plan(since=NOON_MS + YEAR_MS, spans=one.spans)
    assert told(later, NOON_MS + 4 * HOUR_MS + 10) == [4 * HOUR_MS]


def test_spans_are_few_and_the_time_that_is_now_is_never_given_up() -> None:
    spans: tuple[Span, ...] = ((NOON_MS + YEAR_MS, NOON_MS + YEAR_MS + 5),)
    for number in range(50):
        begin_ms = NOON_MS + number * HOUR_MS
        spans = covered(spans, (begin_ms, begin_ms + 5), now_ms=begin_ms + 5)
    assert len(spans) == MAX_SPANS
    assert not is_in(spans, NOON_MS + 60 * HOUR_MS)
    assert not is_in(spans, NOON_MS + 48 * HOUR_MS + 10)
    assert is_in(spans, NOON_MS + 10)  # the oldest is
    ahead = covered(spans, (NOON_MS - YEAR_MS, NOON_MS - YEAR_MS + 5), now_ms=NOON_MS - YEAR_MS + 5)
    assert not is_in(ahead, NOON_MS + 60 * HOUR_MS)
    assert not is_in(ahead, NOON_MS - YEAR_MS + 6)


def test_a_schedule_that_never_comes_is_never_due() -> None:
    agenda = Agenda()
    agenda.put(Plan(KEY, Never(), "latest", NOON_MS))
    assert [slot for due in agenda.due(NOON_MS) for slot in due] == []
    assert agenda.next_ms is None


def test_a_look_asks_only_those_that_are_due() -> None:
    agenda = Agenda()
    plans = [
        Plan(ScheduleKey("f", str(n), "r"), Every(HOUR_MS if n else MINUTE_MS), "latest", NOON_MS) for n in range(999)
    ]
    for one in plans:
        agenda.put(one)
    assert len(list(agenda.due(NOON_MS))) == 999
    asked = [one.slots.asked for one in plans]  # type: ignore[attr-defined]
    assert len(list(agenda.due(NOON_MS + 30_000))) == 0
    assert len(list(agenda.due(NOON_MS + MINUTE_MS))) == 1
    assert [one.slots.asked for one in plans][1:] == asked[1:]  # type: ignore[attr-defined]
    assert agenda.next_ms == NOON_MS + 2 * MINUTE_MS


def test_a_schedule_that_is_dropped_is_not_due_any_more() -> None:
    agenda = Agenda()
    agenda.put(plan())
    list(agenda.due(NOON_MS))
    agenda.drop(KEY)
    assert list(agenda.due(NOON_MS + HOUR_MS)) == []
    agenda.put(plan(since=NOON_MS + 2 * HOUR_MS))
    assert [slot for due in agenda.due(NOON_MS + 2 * HOUR_MS) for slot in due] == []
    assert len(list(takewhile(bool, agenda.due(NOON_MS + 3 * HOUR_MS)))) == 1


def test_an_id_is_made_of_names_and_the_slot_by_utc() -> None:
    assert Slot(KEY, NOON_MS, 0).event_id == "schedule:f/s:2024-10-04T12:00:00Z"
