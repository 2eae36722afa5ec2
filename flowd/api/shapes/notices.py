"""Notices and notifiers, as callers see and ask for them."""

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from flowd.api.json import instant
from flowd.api.params import Limit, Params
from flowd.api.shapes import View
from flowd.domain.notices import Notice, NoticeCounts, NoticeState, What
from flowd.engine.notices import Notifier, NotifierHealth

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=63)]


class Notices(Params):
    """Which notices: with ``failed`` those that were given up, and of one notifier alone where it is named."""

    failed: bool = False
    notifier: _Name | None = None
    limit: Limit = None
    cursor: str | None = None


class NoticeId(Params):
    """Which notice."""

    notice_id: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class NotifierName(Params):
    """Which notifier, by its name."""

    notifier: _Name


class NoticeView(View):
    """A notice.

    Attributes:
        state: ``waiting``, for its first try or the next one; ``sent``; ``failed``: it was given up.
        created_at: When that happened which it tells.
        sent_at: When it was sent, or given up (``givenUpAt``).
        tries: How often it was, or is being, sent.
        problem: Why its last try came to nothing.
        text: What it says, in a sentence or two.
        failures: How many runs of its tree failed; only of failures.
    """

    id: str
    notifier: str
    what: What
    state: NoticeState
    created_at: str
    tries: int
    text: str
    flow: str
    step: str
    run_id: str
    event_id: str
    root_event_id: str
    status: str
    reason: str | None = None
    message: str | None = None
    failures: int | None = None
    sent_at: str | None = None
    given_up_at: str | None = None
    problem: str | None = None


class NotifierView(View):
    """A notifier of the host that answers, and how it has fared since its daemon began.

    Attributes:
        to: The program, or the address without what is secret of it.
        on: What it tells.
        flows: Of which flows; absent: of all.
        sent: Notices that it has sent.
        failed: Tries that came to nothing.
        waiting: Notices that wait for it, of whichever host.
        problem: Why the last try came to nothing; absent where it did not.
    """

    name: str
    to: str
    on: list[What]
    flows: list[str] | None = None
    sent: int = 0
    failed: int = 0
    waiting: int = 0
    last_sent_at: str | None = None
    problem: str | None = None


class NoticesView(View):
    """Notices, newest first, and the notifiers of the host that answers."""

    notices: list[NoticeView]
    notifiers: list[NotifierView]
    next_cursor: str | None = None


class OneNoticeView(View):
    """A notice."""

    notice: NoticeView


class TestedView(View):
    """What came of a test: whether it was ``sent``, and what came back, or why it was not."""

    notifier: str
    sent: bool
    took_ms: int
    answer: str | None = None
    problem: str | None = None


def notice_view(notice: Notice, shown: Mapping[str, Any]) -> NoticeView:
    """A notice; ``shown`` is what it says, masked."""
    ended_at = None if notice.ended_at_ms is None else instant(notice.ended_at_ms)
    return NoticeView(
        id=notice.id,
        notifier=notice.notifier,
        what=notice.what,
        state=notice.state,
        created_at=instant(notice.created_at_ms),
        tries=notice.tries,
        text=shown["text"],
        flow=shown["flow"],
        step=shown["step"],
        run_id=shown["runId"],
        event_id=shown["eventId"],
        root_event_id=shown["rootEventId"],
        status=shown["status"],
        reason=shown.get("reason"),
        message=shown.get("message"),
        failures=shown.get("failures"),
        sent_at=ended_at if notice.state is NoticeState.SENT else None,
        given_up_at=ended_at if notice.state is NoticeState.FAILED else None,
        problem=notice.error,
    )


def notifier_view(notifier: Notifier, health: NotifierHealth, counts: NoticeCounts | None) -> NotifierView:
    """A notifier."""
    last_ms = health.last_sent_at_ms
    return NotifierView(
        name=notifier.rule.name,
        to=notifier.sender.target,
        on=sorted(notifier.rule.on),
        flows=list(notifier.rule.flows) or None,
        sent=health.sent,
        failed=health.failed,
        waiting=0 if counts is None else counts.waiting,
        last_sent_at=None if last_ms is None else instant(last_ms),
        problem=health.problem,
    )
