"""Schedules, as callers see and ask for them."""

from collections.abc import Sequence

from flowd.api.json import instant
from flowd.api.params import Limit, Params
from flowd.api.shapes import View
from flowd.api.shapes.catalog import BrokenView, broken_view
from flowd.domain.flow import BrokenPackage
from flowd.domain.known_schedule import KnownSchedule, ScheduleState
from flowd.domain.schedule import CatchUp
from flowd.formats.cron import local_text


class Schedules(Params):
    """Which schedules; with ``flow`` its own."""

    flow: str | None = None
    limit: Limit = None
    cursor: str | None = None


class SlotView(View):
    """A slot that was told: its event, when that was accepted, and how the event's runs are: ``running``, ``queued``,
    how the worst has ended, or ``nothing`` where no step matched. Without ``status`` the event is forgotten."""

    slot: str
    event_id: str
    accepted_at: str
    status: str | None = None


class ScheduleView(View):
    """A schedule in force.

    Attributes:
        timezone: By whose clock ``cron`` is meant.
        type: Of its events.
        catch_up: What becomes of slots that nobody was there for: the newest is told (``latest``), or none.
        state: ``ready``; ``paused``: its events come, and their runs wait; ``stale``: its package is broken, and what
            it was before goes on; ``refused``: a slot was not taken yet. ``problem`` says more.
        last: The slots that were told last, at most three, the newest telling first.
        next: The next slot, and ``nextLocal`` the same by the clock of its zone.
    """

    flow: str
    name: str
    cron: str
    timezone: str
    type: str
    catch_up: CatchUp
    state: ScheduleState
    last: list[SlotView]
    next: str | None = None
    next_local: str | None = None
    problem: str | None = None


class SchedulesView(View):
    """Schedules by their flows; and the packages that cannot be read, whose schedules nobody knows."""

    schedules: list[ScheduleView]
    broken: list[BrokenView]
    next_cursor: str | None = None


def schedules_view(
    known: Sequence[KnownSchedule], broken: Sequence[BrokenPackage], *, next_index: int | None
) -> SchedulesView:
    """A part of the list."""
    return SchedulesView(
        schedules=[_schedule_view(one) for one in known],
        broken=[broken_view(package) for package in broken if not package.stale],
        next_cursor=None if next_index is None else str(next_index),
    )


def _schedule_view(known: KnownSchedule) -> ScheduleView:
    defined = known.schedule
    return ScheduleView(
        flow=known.flow,
        name=defined.name,
        cron=defined.cron,
        timezone=defined.timezone,
        type=defined.type,
        catch_up=defined.catch_up,
        state=known.state,
        last=[
            SlotView(
                slot=instant(one.slot_ms), event_id=one.event_id, accepted_at=instant(one.at_ms), status=one.status
            )
            for one in known.last
        ],
        next=None if known.next_ms is None else instant(known.next_ms),
        next_local=None if known.next_ms is None else local_text(known.next_ms, defined.timezone),
        problem=known.problem,
    )
