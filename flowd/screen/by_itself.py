"""What comes by itself and what goes out: schedules, watches and notices, asked of the daemon and put into words."""

import asyncio
from collections.abc import Awaitable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from rich.text import Text

from flowd.cli import printing, time_words
from flowd.cli.schedules import last
from flowd.cli.watches import state_of
from flowd.formats.terminal import escaped
from flowd_client import wire
from flowd_client.aio import AsyncFlowClient
from flowd_client.errors import CallError
from flowd_client.views.notice import NoticesView, NoticeView, NotifierView
from flowd_client.views.schedule import ScheduleView
from flowd_client.views.watch import WatchView

T = TypeVar("T")

_MAX_SCHEDULES = 10
_MAX_WATCHES = 20
_MAX_NOTICES = 20
"""So many are shown, so that each part has a place on a usual terminal or near it; the command line lists all."""

_RECENT = 100
"""Among so many of the newest notices those are looked for that wait since a try came to nothing."""

_UNKNOWN = ("method_not_found", "not_found")
"""What a daemon answers that does not know a method: by its socket, and over HTTP, where it has no such path."""

_UNUSED = (
    "Nothing comes by itself, and nobody is told of failures: docs/time.md says how schedules and watches do the one, "
    "docs/notices.md how notifiers do the other."
)


@dataclass(frozen=True)
class ByItself:
    """What the daemon said to one look.

    Attributes:
        schedules: All of them; those that come next first.
        notices: What could not be sent: what was given up, and what waits since a try came to nothing; newest first.
        notifiers: Those of the host that has answered.
        untold: A sentence for each of the three that it did not tell, and why.
    """

    schedules: Sequence[ScheduleView] = ()
    watches: Sequence[WatchView] = ()
    notices: Sequence[NoticeView] = ()
    notifiers: Sequence[NotifierView] = ()
    untold: tuple[str, ...] = ()


async def look_by_itself(client: AsyncFlowClient) -> ByItself:
    """What there is now. What a daemon does not know, because it is older, or may not tell us, keeps nothing else back.

    Raises:
        FlowClientError: The daemon cannot be reached, or does not answer.
    """
    (schedules, no_schedules), (watches, no_watches), (notices, no_notices) = await asyncio.gather(
        _told("schedules", _schedules(client)),
        _told("watches", client.watches()),
        _told("notices", _notices(client)),
    )
    unsent, notifiers = notices or ((), ())
    untold = tuple(filter(None, (no_schedules, no_watches, no_notices)))
    return ByItself(schedules or (), watches or (), unsent, notifiers, untold)


async def _told(what: str, answer: Awaitable[T]) -> tuple[T | None, str]:
    """The answer; or None, and why there is none."""
    try:
        return await answer, ""
    except CallError as error:
        if error.slug in _UNKNOWN:
            return None, f"The daemon is older than this flowd top, and knows no {what}."
        return None, f"The daemon does not tell of {what}: {error.message}"


async def _schedules(client: AsyncFlowClient) -> Sequence[ScheduleView]:
    found: list[ScheduleView] = []
    cursor: str | None = None
    while True:
        page = await client.schedules(limit=wire.MAX_LIMIT, cursor=cursor)
        found += page
        if (cursor := page.next_cursor) is None:
            return sorted(found, key=lambda one: (one.next is None, one.next))


async def _notices(client: AsyncFlowClient) -> tuple[Sequence[NoticeView], Sequence[NotifierView]]:
    given_up: NoticesView
    given_up, recent = await asyncio.gather(
        client.notices(failed=True, limit=_MAX_NOTICES), client.notices(limit=_RECENT)
    )
    waiting = [one for one in recent if one.state == "waiting" and one.problem]
    # One may have been given up between the two answers, and is told once.
    unsent = {one.id: one for one in (*waiting, *given_up)}.values()
    newest_first = sorted(unsent, key=lambda one: one.created_at.timestamp() if one.created_at else 0, reverse=True)
    return newest_first, recent.notifiers


def words(found: ByItself, now: datetime) -> Text:
    """All of it as lines; what is not there takes none."""
    parts = [Text("\n").join(part) for part in _parts(found, now) if part]
    return Text("\n\n").join(parts) if parts else Text(_UNUSED)


def _parts(found: ByItself, now: datetime) -> Iterator[list[Text]]:
    yield _schedule_lines(found.schedules)
    yield _watch_lines(found.watches, now)
    yield _notice_lines(found, now)
    yield [Text(escaped(why), "yellow") for why in found.untold]


def _schedule_lines(schedules: Sequence[ScheduleView]) -> list[Text]:
    shown = schedules[:_MAX_SCHEDULES]
    rows = [
        (_name(one), one.next_local or "-", one.timezone, one.state, last(one.last[0]) if one.last else "-")
        for one in shown
    ]
    headers = ("SCHEDULE", "NEXT", "ZONE", "STATE", "LAST")
    return _table("SCHEDULES", len(schedules), headers, rows, [_problem(one.problem) for one in shown])


def _watch_lines(watches: Sequence[WatchView], now: datetime) -> list[Text]:
    # What has a problem is what one looks for among many.
    shown = sorted(watches, key=lambda one: one.problem is None)[:_MAX_WATCHES]
    rows = [(_name(one), state_of(one), str(one.files), _age(one.last_event_at, now)) for one in shown]
    headers = ("WATCH", "STATE", "FILES", "LAST EVENT")
    return _table("WATCHES", len(watches), headers, rows, [_problem(one.problem) for one in shown])


def _notice_lines(found: ByItself, now: datetime) -> list[Text]:
    failing = [
        Text(escaped(f"{one.name}: {one.waiting} waiting; {one.problem}", is_line=True), "bold yellow")
        for one in found.notifiers
        if one.problem
    ]
    if found.notices:
        shown = found.notices[:_MAX_NOTICES]
        rows = [
            (
                one.id,
                "given up" if one.state == "failed" else one.state,
                _age(one.created_at, now),
                one.notifier,
                one.what,
                str(one.tries),
            )
            for one in shown
        ]
        below = [[Text(escaped(f"  {one.text}", is_line=True)), *_problem(one.problem)] for one in shown]
        headers = ("NOTICE", "STATE", "WHEN", "NOTIFIER", "WHAT", "TRIES")
        return _table("NOTICES NOT SENT", len(found.notices), headers, rows, below) + failing
    if found.notifiers and not failing:
        failing = [Text("No notice is kept from being sent.")]
    return [Text("NOTICES", "bold"), *failing] if failing else []


def _table(
    title: str, total: int, headers: Sequence[str], rows: Sequence[Sequence[str]], below: Iterable[Iterable[Text]]
) -> list[Text]:
    """A title, and aligned rows, each with what stands below it."""
    if not rows:
        return []
    count = str(total) if total == len(rows) else f"{len(rows)} of {total}"
    first, *others = printing.aligned([headers, *rows])
    lines = [Text(f"{title} {count}", "bold"), Text(first, "dim")]
    for row, more in zip(others, below, strict=True):
        lines += [Text(row), *more]
    return lines


def _name(one: ScheduleView | WatchView) -> str:
    return f"{one.flow}/{one.name}"


def _problem(problem: str | None) -> list[Text]:
    return [Text(escaped(f"  {problem}", is_line=True), "yellow")] if problem else []


def _age(at: datetime | None, now: datetime) -> str:
    return "-" if at is None else time_words.apart((now - at).total_seconds())
