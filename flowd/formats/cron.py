"""Reads cron expressions and time zones, and finds the slots that they mean. The one owner of `cronsim`."""

import zoneinfo
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from difflib import get_close_matches
from functools import lru_cache

from cronsim import CronSim, CronSimError

MAX_CRON_CHARS = 200
_WORDS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_FIELDS = ("minute", "hour", "day of the month", "month", "day of the week")
_REMEDY = 'Write "minute hour day-of-month month day-of-week", such as "30 2 * * *" for half past two each night.'
_TRIED_FROM = datetime(2024, 1, 1, tzinfo=UTC)
_NEVER_IN_YEARS = 50
"""A slot comes within these, or never: the longest wait is for 29 February on a certain weekday across a century."""

_LOOK_BACK_S = (120, 3_600, 86_400, 8 * 86_400, 32 * 86_400, 367 * 86_400)
"""How far back the newest slot is looked for, in turn: few slots lie in the first of these that has one."""

_OF_THE_HOST = ("localtime", "posixrules", "Factory")
"""Files among the zones that mean something else on each host."""


class CronError(ValueError):
    """A cron expression or a zone that cannot be used.

    Attributes:
        message: What is wrong, as the rest of a sentence that names it.
        remedy: A sentence that says what to do.
    """

    def __init__(self, message: str, remedy: str = _REMEDY) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


@dataclass(frozen=True)
class Cron:
    """The slots of an expression by the clock of a zone. Instants are milliseconds since the epoch.

    Where a zone's clock is set, a slot is as in Debian's cron: one at a fixed hour comes once, also in the hour that
    comes twice, and at the end of the hour that is left out; one with ``*`` in minutes or hours goes on by the clock.
    """

    expression: str
    zone: tzinfo

    def after(self, at_ms: int) -> int | None:
        """The first slot after an instant; None where none comes in 50 years."""
        return next(self.slots(at_ms), None)

    def slots(self, at_ms: int) -> Iterator[int]:
        """All slots after an instant, in their order."""
        last_ms = at_ms
        try:
            begin = datetime.fromtimestamp(at_ms // 1000, UTC).astimezone(self.zone)
            for slot in CronSim(self.expression, begin):
                slot_ms = int(slot.timestamp()) * 1000
                # In the second turn of an hour that comes twice, slots of the first turn are found again.
                if slot_ms > last_ms:
                    yield slot_ms
                    last_ms = slot_ms
        except (OverflowError, ValueError):  # at the end of all years
            return

    def newest(self, after_ms: int, until_ms: int) -> int | None:
        """The last slot after an instant and up to another one; None where there is none."""
        for back_s in _LOOK_BACK_S:
            from_ms = max(after_ms, until_ms - back_s * 1000)
            if (found := self._last(from_ms, until_ms)) is not None or from_ms == after_ms:
                return found
        return self._last(after_ms, until_ms)

    def _last(self, from_ms: int, until_ms: int) -> int | None:
        found = None
        for slot_ms in self.slots(from_ms):
            if slot_ms > until_ms:
                break
            found = slot_ms
        return found


def read_cron(expression: str, zone: str) -> Cron:
    """The slots of an expression by the clock of a zone.

    Raises:
        CronError: One of both cannot be used, or no slot ever comes.
    """
    return Cron(_expression(expression), read_zone(zone))


@lru_cache(maxsize=1024)
def _expression(text: str) -> str:
    """The five fields.

    >>> _expression("@daily"), _expression("*/5 8-17 * * mon-fri")
    ('0 0 * * *', '*/5 8-17 * * mon-fri')
    """
    fields = _five_fields(text)
    for index, (name, field) in enumerate(zip(_FIELDS, fields, strict=True)):
        alone = ["*"] * 5
        alone[index] = field
        try:
            CronSim(" ".join(alone), _TRIED_FROM)
        except (CronSimError, ValueError, AssertionError):
            raise CronError(f"has no {name} in {_short(field)}") from None
    expression = " ".join(fields)
    try:
        is_never = Cron(expression, UTC).after(int(_TRIED_FROM.timestamp()) * 1000) is None
        CronSim(expression, _TRIED_FROM)
    except CronSimError:
        is_never = True
    if is_never:
        raise CronError(
            f"never comes: no day in {_NEVER_IN_YEARS} years is meant by it", "Write a day that a calendar has."
        )
    return expression


def _five_fields(text: str) -> list[str]:
    fields = _WORDS.get(text.strip().lower(), text).split()
    if len(text) > MAX_CRON_CHARS:
        raise CronError(f"is longer than {MAX_CRON_CHARS} characters")
    if text.strip().lower() == "@reboot":
        raise CronError("is no time", "Let what starts the machine send the event: `flowd dispatch --type TYPE`.")
    if text.strip().startswith("@") and len(fields) == 1:
        raise CronError("is an unknown word", f"Use {', '.join(_WORDS)}, or five fields.")
    if len(fields) == 6 and fields[5].isalpha():
        raise CronError("has six fields", f"Leave out {_short(fields[5])}: it is the user in /etc/crontab.")
    if len(fields) == 6:
        raise CronError(
            "has six fields: cron counts minutes, and nothing comes more often than once in one",
            "Leave out the field of seconds.",
        )
    if len(fields) != 5:
        raise CronError(f"has {len(fields)} {'field' if len(fields) == 1 else 'fields'} instead of five")
    return fields


@lru_cache(maxsize=256)
def read_zone(name: str) -> tzinfo:
    """A zone by its name in the IANA's database: the host's, else the one that comes with flowd.

    Raises:
        CronError: There is none, or it means something else on each host.
    """
    if name == "UTC":
        return UTC  # the same as the database's, in a tenth of the time
    try:
        if name in _OF_THE_HOST or name.startswith(("right/", "posix/")):
            raise ValueError(name)
        zone = zoneinfo.ZoneInfo(name)
        datetime(2024, 1, 1, tzinfo=zone).utcoffset()
    except (OSError, ValueError, zoneinfo.ZoneInfoNotFoundError):
        raise CronError("is no time zone", _zone_remedy(name)) from None
    return zone


def _zone_remedy(name: str) -> str:
    known = {zone.lower(): zone for zone in zoneinfo.available_timezones() if zone not in _OF_THE_HOST}
    last = {zone.rpartition("/")[2].lower(): zone for zone in known.values()}
    asked = name.lower().replace(" ", "_")
    close = get_close_matches(asked, known, n=1, cutoff=0.8) or get_close_matches(asked, last, n=1, cutoff=0.85)
    meant = f"Did you mean {(known.get(close[0]) or last[close[0]])}? " if close else ""
    return f'{meant}Write a name of the IANA, such as "Europe/Berlin", or "UTC".'


def _short(field: str) -> str:
    printable = "".join(char if char.isprintable() else "?" for char in field)
    return f'"{printable if len(printable) <= 40 else printable[:37] + "..."}"'


def local_text(at_ms: int, zone: str) -> str:
    """An instant by a zone's clock, for people.

    >>> local_text(1700000040000, "Asia/Tokyo")
    '2023-11-15 07:14'
    """
    return f"{datetime.fromtimestamp(at_ms // 1000, UTC).astimezone(read_zone(zone)):%Y-%m-%d %H:%M}"
