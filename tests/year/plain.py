"""Cron and catching up as plainly as they can be said: slots are counted out day by day, and nothing is forgotten."""

from bisect import bisect_left, bisect_right, insort
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

DAY_MS = 86_400_000
MINUTE_MS = 60_000
GRACE_MS = 60_000
_EPOCH = date(1970, 1, 1)
_RANGES = (range(60), range(24), range(1, 32), range(1, 13), range(7))


@dataclass(frozen=True)
class PlainCron:
    """An expression of numbers, lists, ranges, and steps."""

    text: str
    zone: str

    def of_day(self, day: int) -> list[int]:
        """The slots in a day by UTC, counted from the epoch."""
        return _of_day(self.text, self.zone, day)

    def between(self, after_ms: int, until_ms: int) -> list[int]:
        """The slots after an instant and up to another one."""
        found: list[int] = []
        for day in range(after_ms // DAY_MS, until_ms // DAY_MS + 1):
            slots = self.of_day(day)
            found += slots[bisect_right(slots, after_ms) : bisect_right(slots, until_ms)]
        return found

    def quiet_until(self, at_ms: int) -> int:
        """The next slot of this day, or its end: until then there is none."""
        slots = self.of_day(at_ms // DAY_MS)
        at = bisect_right(slots, at_ms)
        return slots[at] if at < len(slots) else (at_ms // DAY_MS + 1) * DAY_MS

    def newest(self, after_ms: int, until_ms: int) -> int | None:
        """The last one of these."""
        for day in range(until_ms // DAY_MS, after_ms // DAY_MS - 1, -1):
            slots = self.of_day(day)
            at = bisect_right(slots, until_ms)
            if at and slots[at - 1] > after_ms:
                return slots[at - 1]
        return None


def _values(field_: str, whole: range) -> set[int]:
    found: set[int] = set()
    for part in field_.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        if span == "*":
            numbers = list(whole)
        elif last:
            numbers = list(range(int(first), int(last) + 1))
        else:
            numbers = list(range(int(first), whole[-1] + 1)) if step else [int(first)]
        found |= set(numbers[:: int(step or 1)])
    return found


@cache
def _fields(text: str) -> list[set[int]]:
    return [_values(part, whole) for part, whole in zip(text.split(), _RANGES, strict=True)]


def _is_meant(text: str, day: date) -> bool:
    _, _, days, months, weekdays = _fields(text)
    _, _, days_text, _, weekdays_text = text.split()
    if day.month not in months:
        return False
    is_day, is_weekday = day.day in days, day.isoweekday() % 7 in weekdays
    # Debian's crontab(5): with a star in either, both have to fit.
    both = days_text.startswith("*") or weekdays_text.startswith("*")
    return (is_day and is_weekday) if both else (is_day or is_weekday)


@cache
def _of_day(text: str, zone: str, day: int) -> list[int]:
    local = _EPOCH + timedelta(days=day)
    near = (local + timedelta(days=shift) for shift in (-1, 0, 1))
    found = {slot for one in near for slot in _of_local_day(text, zone, one)}
    return sorted(slot for slot in found if slot // DAY_MS == day)


@cache
def _of_local_day(text: str, zone: str, day: date) -> list[int]:
    if not _is_meant(text, day):
        return []
    minutes, hours, *_ = _fields(text)
    is_by_clock = any(field_.startswith("*") for field_ in text.split()[:2])
    return [
        slot
        for hour in sorted(hours)
        for minute in sorted(minutes)
        for slot in _instants(datetime(day.year, day.month, day.day, hour, minute), zone, is_by_clock)
    ]


def _instants(local: datetime, zone: str, is_by_clock: bool) -> list[int]:
    """When a zone's clock shows this: what is by the clock as often as it does, all else once."""
    first, second = (_utc(local, zone, fold) for fold in (0, 1))
    if first == second:
        return [first]
    if _shows(first, zone) == local:  # twice
        return [first, second] if is_by_clock else [first]
    if is_by_clock:  # never
        return []
    # Left out: at once when the clock goes on, which is at the first minute whose offset is the later one.
    at_ms = min(first, second)
    while _offset(at_ms, zone) != _offset(max(first, second), zone):
        at_ms += MINUTE_MS
    return [at_ms]


@cache
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def _utc(local: datetime, zone: str, fold: int) -> int:
    return int(local.replace(tzinfo=_zone(zone), fold=fold).timestamp()) * 1000


def _shows(at_ms: int, zone: str) -> datetime:
    return datetime.fromtimestamp(at_ms // 1000, UTC).astimezone(_zone(zone)).replace(tzinfo=None, fold=0)


def _offset(at_ms: int, zone: str) -> timedelta | None:
    return datetime.fromtimestamp(at_ms // 1000, UTC).astimezone(_zone(zone)).utcoffset()


@dataclass
class PlainSchedule:
    """What a schedule has told, and tells.

    Attributes:
        since_ms: When it began.
        told: All slots that count, ever.
        waiting: Slots that were due, and that nobody took yet.
        seen_ms: Until when this daemon has looked; None where it knows only what was told.
    """

    cron: PlainCron
    is_latest: bool
    since_ms: int
    told: list[int] = field(default_factory=list)
    waiting: list[int] = field(default_factory=list)
    seen_ms: int | None = None
    _quiet_until_ms: int = 0

    def look(self, now_ms: int) -> None:
        """What has come since it was looked at last is due: all of it that is recent, else what catching up means."""
        after_ms = self.seen_ms
        if after_ms is None:
            at = bisect_right(self.told, now_ms)
            known = [at_ms for at_ms in (self.since_ms, *self.told[at - 1 : at]) if at_ms <= now_ms]
            after_ms = max(known, default=now_ms)
        due = self.cron.between(max(after_ms, now_ms - GRACE_MS - 1), now_ms)
        if not due and self.is_latest:
            newest = self.cron.newest(after_ms, now_ms)
            due = [] if newest is None else [newest]
        self._wait(due)
        self.seen_ms = max(now_ms, after_ms)
        self._quiet_until_ms = 0

    def live(self, now_ms: int) -> None:
        """Time has passed, and each slot was looked at when it came."""
        assert self.seen_ms is not None
        if self.seen_ms <= now_ms < self._quiet_until_ms:
            self.seen_ms = now_ms
            return
        self._wait(self.cron.between(self.seen_ms, now_ms))
        self.seen_ms = max(now_ms, self.seen_ms)
        self._quiet_until_ms = self.cron.quiet_until(self.seen_ms)

    def _wait(self, due: list[int]) -> None:
        self.waiting += [slot for slot in due if not self.has_told(slot) and slot not in self.waiting]

    def has_told(self, slot_ms: int) -> bool:
        """Whether a slot counts."""
        at = bisect_left(self.told, slot_ms)
        return at < len(self.told) and self.told[at] == slot_ms

    def take(self, slots: list[int]) -> None:
        """These were taken."""
        for slot in slots:
            insort(self.told, slot)
        self.waiting = [slot for slot in self.waiting if not self.has_told(slot)]
