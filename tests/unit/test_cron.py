"""Slots of cron expressions by the clocks of zones, as Debian's cron has them."""

from datetime import UTC, datetime
from itertools import islice
from zoneinfo import ZoneInfo

import pytest

from flowd.formats.cron import CronError, read_cron


def at(text: str) -> int:
    """An instant, by UTC."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1000


def slots(cron: str, zone: str, after: str, count: int) -> list[str]:
    """The next slots by UTC."""
    found = islice(read_cron(cron, zone).slots(at(after)), count)
    return [f"{datetime.fromtimestamp(slot / 1000, UTC):%m-%d %H:%M}" for slot in found]


def test_an_hour_that_is_left_out_ends_with_its_slot() -> None:
    night = slots("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00", 2)
    assert night == ["03-29 01:00", "03-30 00:30"]


def test_slots_that_fall_together_in_a_left_out_hour_come_once() -> None:
    assert slots("0,20,40 2 * * *", "Europe/Berlin", "2026-03-28T12:00", 2) == ["03-29 01:00", "03-30 00:00"]
    assert slots("30 2,3 * * *", "Europe/Berlin", "2026-03-28T12:00", 2) == ["03-29 01:00", "03-29 01:30"]


def test_an_hour_that_comes_twice_has_its_slot_once() -> None:
    assert slots("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00", 2) == ["10-25 00:30", "10-26 01:30"]
    for after in ("2026-10-25T00:30", "2026-10-25T00:45", "2026-10-25T01:10", "2026-10-25T01:45"):
        assert slots("30 2 * * *", "Europe/Berlin", after, 1) == ["10-26 01:30"]


def test_what_comes_each_hour_goes_on_by_the_clock() -> None:
    twice = slots("30 * * * *", "Europe/Berlin", "2026-10-24T23:40", 3)
    assert twice == ["10-25 00:30", "10-25 01:30", "10-25 02:30"]
    assert slots("30 * * * *", "Europe/Berlin", "2026-03-28T23:40", 3) == ["03-29 00:30", "03-29 01:30", "03-29 02:30"]


def test_zones_whose_clocks_are_set_at_midnight_or_by_half_an_hour() -> None:
    assert slots("30 0 * * *", "Africa/Cairo", "2026-04-23T12:00", 2) == ["04-23 22:00", "04-24 21:30"]
    assert slots("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00", 2) == ["10-03 15:30", "10-04 15:15"]


def test_29_february_comes_every_four_years() -> None:
    cron = read_cron("0 0 29 2 *", "UTC")
    assert [datetime.fromtimestamp(slot / 1000, UTC).year for slot in islice(cron.slots(at("2026-01-01")), 3)] == [
        2028, 2032, 2036,
    ]  # fmt: skip
    assert cron.newest(0, at("2026-01-01")) == at("2024-02-29")


def test_day_of_month_or_day_of_week_as_in_cron() -> None:
    assert slots("0 0 13 * 5", "UTC", "2026-11-01T00:00", 3) == ["11-06 00:00", "11-13 00:00", "11-20 00:00"]
    assert slots("0 0 * * 7", "UTC", "2026-11-01T12:00", 1) == ["11-08 00:00"]


@pytest.mark.parametrize("cron", ["* * * * *", "*/7 3 * * *", "@hourly", "@weekly", "0 5 1 1 *", "1,2,3 4 * * *"])
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"])
def test_the_newest_slot_is_the_last_of_those_before(cron: str, zone: str) -> None:
    read = read_cron(cron, zone)
    for now in ("2026-03-29T01:00", "2026-10-25T01:40", "2026-11-01T06:31", "2026-06-01T00:00"):
        newest = read.newest(0, at(now))
        assert newest is not None
        assert newest <= at(now)
        following = read.after(newest)
        assert following is not None
        assert following > at(now)
        assert read.newest(newest, at(now)) is None


def test_the_end_of_all_years_is_the_end() -> None:
    last = int(datetime(9999, 12, 30, tzinfo=UTC).timestamp()) * 1000
    for zone in ("UTC", "Asia/Tokyo"):
        assert len(list(read_cron("@daily", zone).slots(last))) <= 2
    assert read_cron("@daily", "Asia/Tokyo").after(10**17) is None


def test_zones_come_with_flowd_where_the_host_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoneinfo.TZPATH", ())
    assert ZoneInfo.no_cache("Europe/Berlin").utcoffset(datetime(2026, 7, 1)) is not None


def test_the_user_of_a_line_of_etc_crontab_is_to_be_left_out() -> None:
    with pytest.raises(CronError) as caught:
        read_cron("30 2 * * 1,3 root", "UTC")
    assert "the user in /etc/crontab" in caught.value.remedy
