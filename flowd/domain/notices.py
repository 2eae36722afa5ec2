"""What people are told outside of flowd: what is worth a notice, who gets it, and when it is tried again. No I/O."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any, Literal, get_args

What = Literal["failed", "blocked", "needs_intervention", "recovered", "queue_timeout"]
"""What a notice may be about. ``queue_timeout`` is a failure, too: who asks for ``failed`` is told of it."""

WHATS: tuple[What, ...] = get_args(What)

MAX_TEXT = 2_000
"""Characters of a message, and of an error, that a notice holds."""

GIVE_UP_MS = 24 * 3_600_000
"""A notice is tried for so long, from its first try on."""

KEPT_MS = 30 * 24 * 3_600_000
"""What was sent, or given up, is remembered for so long."""

MAX_KEPT = 10_000
"""Of these the newest so many, however young the others are."""

MAX_WAITING = 1_000
"""Notices that may wait for one notifier. What comes then is counted in the newest of its kind: whoever is told of the
thousandth failure knows enough, and a notifier that is away for long fills no disk."""

_FIRST_DELAY_MS, _MAX_DELAY_MS = 10_000, 3_600_000


class NoticeState(StrEnum):
    """How far a notice has come."""

    WAITING = "waiting"
    """It was not sent yet; it is tried, or tried again."""
    SENT = "sent"
    FAILED = "failed"
    """It was given up."""


@dataclass(frozen=True, slots=True)
class NotifyRule:
    """Who is told of what.

    Attributes:
        name: Of the notifier. Hosts that share a store mean the same by the same name.
        on: What it is told of.
        flows: Names of flows, or patterns of them, that it is told of; none are all.
    """

    name: str
    on: frozenset[What]
    flows: tuple[str, ...] = ()

    def wants(self, what: What, flow_name: str) -> bool:
        """Whether this is for it.

        >>> rule = NotifyRule("mail", frozenset({"failed"}), ("release", "site-*"))
        >>> rule.wants("queue_timeout", "site-blog"), rule.wants("blocked", "release"), rule.wants("failed", "other")
        (True, False, False)
        """
        is_asked = what in self.on or (what == "queue_timeout" and "failed" in self.on)
        return is_asked and (not self.flows or any(fnmatchcase(flow_name, pattern) for pattern in self.flows))


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that a notifier tells, or has told.

    Attributes:
        id: The same at every try, so that who gets it twice can tell.
        told: What it tells, as it was then: ``flow``, ``step``, ``eventId`` and so on, unmasked.
        failures: How many runs of its tree it stands for.
        created_at_ms: When that happened.
        tries: How often it was, or is being, sent.
        first_try_ms: When it was tried first, by the clock that tries go by; None: never yet.
        due_ms: When it is tried next, by the same.
        ended_at_ms: When it was sent or given up.
        error: Why the last try came to nothing.
    """

    id: str
    notifier: str
    what: What
    created_at_ms: int
    told: Mapping[str, Any]
    state: NoticeState = NoticeState.WAITING
    failures: int = 1
    tries: int = 0
    first_try_ms: int | None = None
    due_ms: int = 0
    ended_at_ms: int | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class ClaimedNotices:
    """Notices to send now, and when the time of the next one comes that is for another notifier; None where there is
    none."""

    notices: tuple[Notice, ...] = ()
    next_due_ms: int | None = None


@dataclass(frozen=True, slots=True)
class NoticeCounts:
    """How many notices of a notifier wait, how many of these were tried in vain, and how many were given up lately."""

    waiting: int = 0
    troubled: int = 0
    given_up: int = 0


@dataclass(frozen=True, slots=True)
class Sent:
    """What came of a try.

    Attributes:
        problem: Why it came to nothing, as a clause; None where it was sent.
        is_final: Another try is of no use.
        retry_after_ms: So long the receiver wants to be left alone.
        answer: What came back, in a few words.
    """

    problem: str | None = None
    is_final: bool = False
    retry_after_ms: int | None = None
    answer: str = ""


def what_of(effective_status: str, reason: str | None) -> What | None:
    """What the end of a run is worth; None where nobody is alarmed.

    >>> what_of("failed", "exit"), what_of("failed", "queue_timeout"), what_of("skipped", None)
    ('failed', 'queue_timeout', None)
    """
    match effective_status:
        case "failed":
            return "queue_timeout" if reason == "queue_timeout" else "failed"
        case "blocked" | "needs_intervention":
            return effective_status
        case _:
            return None


def is_failure(what: What) -> bool:
    """Whether it is one of those of which a tree has one notice, and after which a flow recovers."""
    return what in ("failed", "queue_timeout")


def delay_before_next_ms(tries: int, *, retry_after_ms: int | None = None) -> int:
    """How long to wait after so many tries that came to nothing: 10 s, twice as long each time, an hour at most.

    >>> [delay_before_next_ms(tries) // 1000 for tries in (1, 2, 3, 9, 10, 60)]
    [10, 20, 40, 2560, 3600, 3600]
    >>> delay_before_next_ms(1, retry_after_ms=90_000), delay_before_next_ms(1, retry_after_ms=10**9)
    (90000, 3600000)
    """
    own_ms = _FIRST_DELAY_MS << min(tries - 1, 16)
    return min(_MAX_DELAY_MS, max(own_ms, retry_after_ms or 0))
