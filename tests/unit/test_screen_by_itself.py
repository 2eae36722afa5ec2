"""What ``flowd top`` says of what comes by itself and goes out, by a client that says what is asked of it."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from flowd.screen.by_itself import ByItself, look_by_itself, words
from flowd_client.aio import AsyncFlowClient
from flowd_client.errors import DaemonNotRunningError, FlowClientError, InvalidCallError, UnauthorizedError
from flowd_client.views.notice import read_notices
from flowd_client.views.schedule import read_schedules
from flowd_client.views.watch import read_watches

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)
OLDER = InvalidCallError(-32601, "method_not_found", "There is no such method.")


def a_schedule(name: str, at: str | None, **members: Any) -> dict[str, Any]:
    local = {"next": at, "nextLocal": at and f"{at} by its clock"}
    return {"flow": "backup", "name": name, "timezone": "Europe/Berlin", "state": "ready", **local, **members}


def a_watch(name: str, **members: Any) -> dict[str, Any]:
    return {"flow": "docs", "name": name, "status": "watching", "files": 7, **members}


def a_notice(notice_id: str, state: str, **members: Any) -> dict[str, Any]:
    names = {"notifier": "mail", "what": "failed", "createdAt": "2026-11-29T11:58:00Z", "tries": 3}
    return {"id": notice_id, "state": state, "text": f"{notice_id} says so.", **names, **members}


class Telling(AsyncFlowClient):
    """A client whose daemon has these, two schedules a page; ``failures`` by the name of what is asked."""

    def __init__(
        self,
        *,
        schedules: tuple[dict[str, Any], ...] = (),
        watches: tuple[dict[str, Any], ...] = (),
        notices: tuple[dict[str, Any], ...] = (),
        notifiers: tuple[dict[str, Any], ...] = (),
        failures: dict[str, FlowClientError] | None = None,
    ) -> None:
        self.held = {"schedules": schedules, "watches": watches, "notices": notices, "notifiers": notifiers}
        self.failures = failures or {}

    def _fail(self, what: str) -> None:
        if what in self.failures:
            raise self.failures[what]

    async def schedules(self, *, cursor: str | None = None, **_: Any) -> Any:
        self._fail("schedules")
        at, held = int(cursor or 0), self.held["schedules"]
        after = str(at + 2) if at + 2 < len(held) else None
        return read_schedules({"schedules": list(held[at : at + 2]), "nextCursor": after})

    async def watches(self) -> Any:
        self._fail("watches")
        return read_watches({"watches": list(self.held["watches"])})

    async def notices(self, *, failed: bool = False, **_: Any) -> Any:
        self._fail("notices")
        shown = [one for one in self.held["notices"] if not failed or one["state"] == "failed"]
        return read_notices({"notices": shown, "notifiers": list(self.held["notifiers"])})


def found(**held: Any) -> ByItself:
    return asyncio.run(look_by_itself(Telling(**held)))


def said(**held: Any) -> list[str]:
    return words(found(**held), NOW).plain.split("\n")


def test_schedules_of_all_pages_come_in_the_order_of_their_next_times() -> None:
    days = [a_schedule(f"day{n}", f"2026-12-{20 - n:02}T02:30:00+01:00") for n in range(12)]
    lines = said(schedules=(a_schedule("never", None), *days))
    assert lines[0] == "SCHEDULES 10 of 13"
    assert [line.split()[0] for line in lines[2:]] == [f"backup/day{n}" for n in range(11, 1, -1)]
    assert "2026-12-09T02:30:00+01:00 by its clock  Europe/Berlin  ready" in lines[2]


def test_a_schedule_says_how_its_last_time_ended_and_what_keeps_it() -> None:
    slot = {"eventId": "schedule:backup/night:2026-11-29T01:30:00Z", "status": "completed"}
    one = a_schedule("night", "2026-11-30T02:30:00+01:00", state="refused", problem="the queue is full", last=[slot])
    lines = said(schedules=(one,))
    assert lines[2].endswith("refused  completed (2026-11-29T01:30Z)")
    assert lines[3] == "  the queue is full"


def test_of_many_watches_those_with_a_problem_come_first() -> None:
    well = [a_watch(f"w{n}", lastEventAt="2026-11-29T11:55:00Z") for n in range(20)]
    lines = said(watches=(*well, a_watch("slow", status="polling", problem="too many folders")))
    assert lines[0] == "WATCHES 20 of 21"
    assert lines[2].split() == ["docs/slow", "polling", "7", "-"]
    assert lines[3] == "  too many folders"
    assert lines[4].split() == ["docs/w0", "watching", "7", "5", "min", "ago"]


def test_notices_are_shown_that_were_given_up_or_wait_since_a_try_came_to_nothing() -> None:
    notices = (
        a_notice("n-fresh", "waiting"),
        a_notice("n-again", "waiting", problem="no relay"),
        a_notice("n-sent", "sent", problem="no relay"),
        a_notice("n-over", "failed", problem="410", createdAt="2026-11-28T00:00:00Z"),
    )
    assert [one.id for one in found(notices=notices).notices] == ["n-again", "n-over"]
    lines = said(notices=notices, notifiers=({"name": "mail", "waiting": 2, "problem": "no relay"},))
    assert lines[0] == "NOTICES NOT SENT 2"
    assert lines[2].split() == ["n-again", "waiting", "2", "min", "ago", "mail", "failed", "3"]
    assert lines[3:5] == ["  n-again says so.", "  no relay"]
    assert "given up" in lines[5]
    assert lines[-1] == "mail: 2 waiting; no relay"


def test_notifiers_that_do_well_are_told_of_in_a_sentence() -> None:
    assert said(notifiers=({"name": "mail", "waiting": 0},)) == ["NOTICES", "No notice is kept from being sent."]


def test_who_uses_none_of_it_reads_where_it_is_described() -> None:
    (line,) = said()
    assert "docs/time.md" in line
    assert "docs/notices.md" in line


def test_what_an_older_daemon_does_not_know_keeps_nothing_else_back() -> None:
    assert said(failures=dict.fromkeys(("schedules", "watches", "notices"), OLDER)) == [
        f"The daemon is older than this flowd top, and knows no {what}." for what in ("schedules", "watches", "notices")
    ]
    lines = said(watches=(a_watch("texts"),), failures={"schedules": OLDER})
    assert lines[0] == "WATCHES 1"
    assert lines[-1] == "The daemon is older than this flowd top, and knows no schedules."


def test_what_one_may_not_see_is_said_and_a_daemon_that_is_away_is_no_answer() -> None:
    lines = said(failures={"notices": UnauthorizedError(-32001, "forbidden", "Not with this token.")})
    assert lines == ["The daemon does not tell of notices: Not with this token."]
    with pytest.raises(DaemonNotRunningError):
        found(failures={"watches": DaemonNotRunningError("No daemon.")})


def test_control_characters_of_others_are_not_obeyed() -> None:
    evil = "a\x1b]0;owned\x07\n\x9bb\u202e"
    told = words(
        found(
            schedules=(a_schedule(evil, evil, problem=evil),),
            watches=(a_watch(evil, problem=evil),),
            notices=(a_notice(evil, "failed", problem=evil),),
            notifiers=({"name": evil, "problem": evil},),
            failures={},
        ),
        NOW,
    ).plain
    assert not set("\x1b\x07\x9b\u202e") & set(told)
    assert told.count("owned") >= 7
