"""Schedules, as a client sees them."""

from dataclasses import field
from datetime import datetime

from flowd_client.views.frozen import frozen
from flowd_client.views.reading import Members, Page, members, page, read


@frozen
class SlotView:
    """A slot that was told.

    Attributes:
        accepted_at: When its event was accepted.
        status: How the event's runs are: ``running``, ``queued``, how the worst has ended, or ``nothing``; None where
            the event is forgotten.
    """

    slot: datetime | None
    event_id: str
    accepted_at: datetime | None
    status: str | None


@frozen
class ScheduleView:
    """A schedule in force.

    Attributes:
        catch_up: ``latest`` or ``none``.
        state: ``ready``, ``paused``, ``stale`` or ``refused``; ``problem`` says more.
        next: Its next slot; ``next_local`` is the same by the clock of its zone.
        last: The slots that were told last, at most three, the newest telling first.
        raw: The record as it came.
    """

    flow: str
    name: str
    cron: str
    timezone: str
    type: str
    catch_up: str
    state: str
    next: datetime | None
    next_local: str | None
    problem: str | None
    last: tuple[SlotView, ...]
    raw: Members = field(repr=False, compare=False)


def read_schedule(value: object) -> ScheduleView:
    """A schedule from its record."""
    return read(ScheduleView, members(value))


def read_schedules(response: object) -> Page[ScheduleView]:
    """A list's response."""
    return page(response, "schedules", read_schedule)
