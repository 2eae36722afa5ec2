"""What steps and events ask of times: how long to wait, until when, for what quiet, how long at most in the queue."""

from collections.abc import Mapping
from dataclasses import dataclass

from flowd.domain.errors import InvalidEventError
from flowd.domain.instants import instant, read_whole_instant

DAY_MS = 86_400_000

MAX_WAIT_MS = 366 * DAY_MS
"""Of every wait that a step or an event asks for: more than a year is a mistake in the unit."""

NOT_BEFORE = "notBefore"
"""The member of an event that says when its runs may start."""

MAX_EARLIER = 100
"""Earlier events of a burst whose ids are told."""


@dataclass(frozen=True, slots=True)
class Debounce:
    """What ``[steps.debounce]`` asks for: one run for the last of several events, once no other comes.

    Attributes:
        quiet_ms: For so long no other event of the key has come.
        max_ms: Longer than this after the first event none waits; None: as long as it is not quiet.
        key: JSON Pointers into the event. Without any, all events have the same key.
    """

    quiet_ms: int
    max_ms: int | None = None
    key: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WantedQuiet:
    """The quiet that a run waits for, as it was when its event was accepted.

    Attributes:
        key: The values in the event as a JSON array.
    """

    key: str
    quiet_ms: int
    max_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Timing:
    """What a run waits for of times, and how long at most for a place, as it was when it was made.

    Attributes:
        delay_ms: From the end of the last step that it needs, else from when it was made.
        not_before_ms: An instant by the wall clock.
        queue_timeout_ms: How long it may wait for its key and its place together.
        quiet: It stands for all events of its key that come before it is quiet.
    """

    delay_ms: int = 0
    not_before_ms: int | None = None
    queue_timeout_ms: int | None = None
    quiet: WantedQuiet | None = None

    @property
    def is_wait(self) -> bool:
        """Whether there is anything to wait for."""
        return bool(self.delay_ms or self.not_before_ms is not None or self.quiet)


@dataclass(frozen=True, slots=True)
class Burst:
    """The events for which a run stands beside its own.

    Attributes:
        event_ids: Of the first `MAX_EARLIER` of them, oldest first.
        count: How many they are.
    """

    event_ids: tuple[str, ...]
    count: int

    @property
    def is_truncated(self) -> bool:
        """Whether there are more than are named."""
        return self.count > len(self.event_ids)


def not_before_ms(event: Mapping[str, object], *, now_ms: int) -> int | None:
    """From when on an event's runs may start; None: at once, as where that instant is over.

    Args:
        event: Its members. A ``notBefore`` of null counts as absent.
        now_ms: By the wall clock.

    Raises:
        InvalidEventError: It is no instant with its offset from UTC, or more than a year ahead.

    >>> not_before_ms({"notBefore": "2023-11-14T22:13:20Z"}, now_ms=1_699_999_999_000)
    1700000000000
    >>> not_before_ms({"notBefore": "2023-11-14T22:13:20Z"}, now_ms=1_800_000_000_000), not_before_ms({}, now_ms=0)
    (None, None)
    """
    said = event.get(NOT_BEFORE)
    if said is None:
        return None
    found = read_whole_instant(said) if isinstance(said, str) else None
    if found is None:
        shown = f"{said[:60]!r}" if isinstance(said, str) else f"of JSON type {type(said).__name__}"
        raise InvalidEventError(
            f"The event's notBefore is {shown}; it must be an instant with its offset, such as 2026-01-31T14:05:00Z or "
            f"2026-01-31T14:05:00+01:00.",
            member=NOT_BEFORE,
        )
    if found > now_ms + MAX_WAIT_MS:
        raise InvalidEventError(
            f"The event's notBefore, {instant(found)}, is more than a year ahead; keep it, and send it later.",
            member=NOT_BEFORE,
        )
    return found if found > now_ms else None
