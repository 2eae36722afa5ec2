"""The queue as a whole, and pauses of it, as callers see and ask for them."""

from flowd.api.json import instant
from flowd.api.params import Identifier, Labels, Limit, Params
from flowd.api.shapes import View
from flowd.api.shapes.people import PersonView, person_view
from flowd.api.shapes.runs import RunView, run_view
from flowd.domain.pauses import Pause
from flowd.domain.queue_view import QueueView as Queued


class Paused(Params):
    """What: all without a ``flow``; a flow, or a ``step`` of it."""

    flow: Identifier | None = None
    step: Identifier | None = None


class Queue(Params):
    """Which part of the queue; with ``flow``, ``step`` or ``label`` (a list of ``name=value``) only their runs."""

    flow: str | None = None
    limit: Limit = None
    cursor: str | None = None
    step: str | None = None
    label: Labels = None


class PauseView(View):
    """A pause: of ``*`` (all), a flow, or ``flow/step``."""

    what: str
    by: PersonView
    since: str


class PausedView(View):
    """A pause in force, and how many ``runs`` were taken back that could have started."""

    pause: PauseView
    runs: int


class ResumedView(View):
    """Whether ``what`` was paused, and how many ``runs`` go on now. Where all is resumed, those are among them that
    waited because their state was copied from elsewhere."""

    what: str
    was_paused: bool
    runs: int


class QueuedView(View):
    """What is queued: first the runs that are ready, in the order in which they start, then those that wait, the oldest
    first. ``since`` of each is when its waiting for what ``waitingFor`` says began. ``ready`` and ``waiting`` are how
    many there are in all."""

    runs: list["QueuedRunView"]
    ready: int
    waiting: int
    pauses: list[PauseView]
    next_cursor: str | None = None


class QueuedRunView(View):
    """A queued run, and since when it waits for what it waits for. ``rounds``: where that is a person's answer, how
    many rounds wait for the key that its round holds, counted to 1,000."""

    run: RunView
    since: str
    rounds: int | None = None


def pause_view(pause: Pause) -> PauseView:
    """A pause."""
    return PauseView(what=str(pause.what), by=person_view(pause.by), since=instant(pause.at_ms))


def queued_view(queued: Queued) -> QueuedView:
    """A part of the queue."""
    return QueuedView(
        runs=[
            QueuedRunView(run_view(run), instant(run.updated_at_ms), queued.rounds_behind.get(run.id))
            for run in queued.page.items
        ],
        ready=queued.ready,
        waiting=queued.waiting,
        pauses=[pause_view(pause) for pause in queued.pauses],
        next_cursor=queued.page.next_cursor,
    )
