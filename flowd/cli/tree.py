"""Draws an event with all that its runs caused, theirs, and so on."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from flowd.cli import printing
from flowd.cli.run_times import began_or_ended
from flowd.cli.run_words import why
from flowd.cli.session import Session
from flowd_client import requests
from flowd_client.views.run import RunView
from flowd_client.views.tree import TreeEventView

_PAGE = 500


class Row(NamedTuple):
    """A line of the drawing: of an event, whose ``status`` is empty, or of a run.

    Attributes:
        why: What is to be said of a run: behind the rest, or where that is too long, beneath it.
        margin: Before what stands beneath.
    """

    label: str
    status: str
    rest: str
    why: str = ""
    margin: str = ""


def read(session: Session, event_id: str) -> list[TreeEventView]:
    """The event and all below it, every event after the one whose run caused it."""
    found: list[TreeEventView] = []
    cursor: str | None = None
    while True:
        page = session.view(requests.get_tree(event_id, limit=_PAGE, cursor=cursor))
        found += page
        cursor = page.next_cursor
        if cursor is None:
            return found


def newest(event: TreeEventView) -> list[RunView]:
    """The newest run of each step."""
    return list({(run.flow_name, run.step_name): run for run in event.runs}.values())


def newest_below(events: Sequence[TreeEventView], runs: Sequence[RunView]) -> list[RunView]:
    """These runs of a tree's first event, and below them the newest run of each step of what they caused."""
    found = list(runs)
    causes = {name for run in runs for name in (run.id, run.replay_of)}
    for event in events[1:]:
        if event.caused_by is not None and event.caused_by.run_id in causes:
            found += newest(event)
            causes |= {name for run in event.runs for name in (run.id, run.replay_of)}
    return found


def draw(events: Sequence[TreeEventView]) -> None:
    """Draw a tree, which begins with its root."""
    rows = list(drawn(events))
    labels = max((len(row.label) for row in rows if row.status), default=0)
    statuses = max((len(row.status) for row in rows), default=0)
    columns = printing.screen_columns()
    for row in rows:
        if row.status:
            whole = "  ".join(filter(None, (row.rest, row.why)))
            is_beneath = columns is not None and labels + statuses + len(whole) + 4 > columns
            shown = row.rest if is_beneath else whole
            printing.line_with_status(f"{row.label.ljust(labels)}  ", row.status.ljust(statuses), f"  {shown}")
            if is_beneath and row.why:
                printing.line(f"{row.margin}{row.why}")
        else:
            printing.line(f"{row.label}  {row.rest}")


def drawn(events: Sequence[TreeEventView]) -> Iterator[Row]:
    """The lines of a tree: below each event its runs, below each run the events that it caused."""
    below: dict[str, list[TreeEventView]] = {}
    shown = {run.id for event in events for run in event.runs}
    for event in events[1:]:
        cause = event.caused_by.run_id if event.caused_by and event.caused_by.run_id in shown else ""
        below.setdefault(cause, []).append(event)
    for root in [*events[:1], *below.get("", ())]:
        yield Row(root.id, "", root.type or "")
        yield from _runs(root, "", below)


def _runs(event: TreeEventView, margin: str, below: dict[str, list[TreeEventView]]) -> Iterator[Row]:
    for index, run in enumerate(event.runs):
        is_last = index == len(event.runs) - 1
        again = " (replay)" if run.is_replay else ""
        deeper = margin + ("   " if is_last else "│  ")
        caused = below.get(run.id, [])
        label = f"{margin}{_branch(is_last)}{run.flow_name}/{run.step_name}{again}"
        beneath = deeper + ("│  " if caused else "   ")
        yield Row(label, run.effective_status, _about(run), " ".join(why(run).split()), beneath)
        for place, child in enumerate(caused):
            is_last_child = place == len(caused) - 1
            yield Row(f"{deeper}{_branch(is_last_child)}{child.id}", "", child.type or "")
            yield from _runs(child, deeper + ("   " if is_last_child else "│  "), below)


def _branch(is_last: bool) -> str:
    return "└─ " if is_last else "├─ "


def _about(run: RunView) -> str:
    """A run's id, when it started, or ended without that, and how long it took."""
    parts = [run.id]
    when = began_or_ended(run)
    if when != "-":
        parts.append(when)
    if run.duration_ms is not None:
        parts.append(printing.took(run.duration_ms))
    return "  ".join(parts)
