"""Watches, as callers see them."""

from flowd.api.shapes import View
from flowd.domain.watches import Watch, WatchState, WatchStatus


class FlowWatchView(View):
    """A watch as its flow defines it: events of ``type`` for changes of the files that ``paths`` fit, once nothing has
    changed for ``settleMs``; without those that are ignored where it goes by ``gitignore``."""

    name: str
    paths: tuple[str, ...]
    type: str
    settle_ms: int
    gitignore: bool


class WatchView(FlowWatchView):
    """A watch.

    Attributes:
        status: ``watching``; ``polling``: the system cannot watch just now, so its files are looked at now and then;
            ``starting``; ``off``: they are not looked at, and ``problem`` says why.
        files: How many there are.
        changing: Something has changed, and there is no event of it yet.
        last_event_id: Of its newest event, and ``lastEventAt`` when that was made.
        problem: What keeps it from events, or makes it slow.
    """

    flow: str
    status: WatchStatus
    files: int
    changing: bool
    last_event_id: str | None = None
    last_event_at: str | None = None
    problem: str | None = None


class WatchesView(View):
    """The watches of all flows in force, on the host that answers."""

    watches: list[WatchView]


def flow_watch_view(watch: Watch) -> FlowWatchView:
    """A watch as its flow defines it."""
    return FlowWatchView(watch.name, watch.paths, watch.type, watch.settle_ms, watch.gitignore)


def watch_view(state: WatchState) -> WatchView:
    """A watch."""
    watch = state.watch
    return WatchView(
        name=watch.name,
        paths=watch.paths,
        type=watch.type,
        settle_ms=watch.settle_ms,
        gitignore=watch.gitignore,
        flow=watch.flow,
        status=state.status,
        files=state.files,
        changing=state.is_changing,
        last_event_id=state.last_event_id,
        last_event_at=state.last_event_at,
        problem=state.problem,
    )
