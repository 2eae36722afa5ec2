"""``flowd events`` and ``flowd event``: lists stored events, and shows one."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from flowd.cli import left_out, printing, time_words, tree
from flowd.cli.filters import Filters, filter_options, tell_more, whole_list
from flowd.cli.names import TypeName
from flowd.cli.references import EventReference, event_of
from flowd.cli.runs import draw_runs
from flowd.cli.session import Session
from flowd.cli.verb import Verb, absolute_option, as_json_option, list_options, only_option
from flowd_client import requests
from flowd_client.views.event import EventView, read_event, read_events
from flowd_client.views.tree import TreeEventView, read_tree

if TYPE_CHECKING:
    from flowd_client.views.update import UpdateView


@click.command(cls=Verb, short_help="List events, newest first.")
@click.option("--type", "event_type", type=TypeName(), metavar="TYPE", help="Only of this type.")
@filter_options(of="with a run of", searched="id, type or source")
@list_options(following="Print events as they come, instead of a list.")
@click.pass_obj
def events(
    session: Session,
    *,
    event_type: str | None,
    filters: Filters,
    limit: int | None,
    cursor: str | None,
    is_following: bool,
    after: str | None,
    as_json: bool,
) -> None:
    """List events, newest first, or print them as they come. --flow, --step, --status, --reason and --label are of one
    of their runs.

    \b
    Examples:
      flowd events --type build.requested --since 7d
      flowd events --flow release --status failed
      flowd events --limit 5 --json
      flowd events -f
    """
    if is_following:
        filters.refuse(*filters.typed())
        from flowd.cli import typos  # noqa: PLC0415 - most lists are not followed

        typos.tell(session, filters, event_type)
        _follow(session, event_type, after, as_json=as_json)
        return
    response = whole_list(
        session,
        "events",
        filters,
        lambda count, place: requests.list_events(type=event_type, limit=count, cursor=place, **filters._asdict()),
        limit=limit,
        cursor=cursor,
    )
    if as_json:
        printing.print_json(response)
    if not response["events"]:
        from flowd.cli import typos  # noqa: PLC0415 - most lists are not empty

        typos.tell_empty(session, "No events.", filters, event_type, as_json=as_json)
    if as_json or not response["events"]:
        return
    page = read_events(response)
    rows = [
        (item.id, item.type or "-", item.source or "-", _runs(item), printing.when(item.created_at)) for item in page
    ]
    printing.table(("EVENT", "TYPE", "SOURCE", "RUNS", "STORED"), rows, yields=("SOURCE", "TYPE", "STORED"))
    if page.next_cursor:
        more = session.typed("events", type=event_type, **filters.typed(), limit=limit, cursor=page.next_cursor)
        tell_more(len(rows), more, limit=limit)


def _follow(session: Session, event_type: str | None, after: str | None, *, as_json: bool) -> None:
    from flowd.cli.follow import events as follow_events  # noqa: PLC0415 - 5 ms that a list does not pay

    def draw(update: "UpdateView") -> str:
        item = update.event
        if item is None:
            return update.kind
        noun = "run" if len(item.run_ids) == 1 else "runs"
        source = f"  from {item.source}" if item.source else ""
        return f"{follow_events.clock(update)}  {item.id}  {item.type}{source}  {len(item.run_ids)} {noun}"

    def wants(update: "UpdateView") -> bool:
        return event_type is None or (update.event is not None and update.event.type == event_type)

    follow_events.follow(session, "event", after=after, as_json=as_json, wants=wants, draw=draw)


@click.command(cls=Verb, short_help="Show an event, its runs, and all that they caused.")
@click.argument("event_id", type=EventReference(), metavar="EVENT")
@only_option
@absolute_option
@as_json_option
@click.pass_obj
def event(session: Session, event_id: str, is_alone: bool, as_json: bool) -> None:
    """Show an event with its payload, its runs, the events that they caused, theirs, and so on.

    \b
    Examples:
      flowd event release-42
      flowd event release-42 --json | jq .event.payload
    """
    event_id = event_of(session, event_id)
    response = session.ask(requests.get_event(event_id)) if is_alone else session.ask(requests.get_tree(event_id))
    if as_json:
        printing.print_json(response)
    else:
        below = [] if is_alone or len(read_tree(response)) < 2 else tree.read(session, event_id)
        _draw_event(read_event(response), below)


def _received(item: EventView) -> str | None:
    """When it came, as the sender wrote it; for a person only where that is not when it was stored."""
    at = time_words.instant(item.received_at)
    is_told = at is not None and at == item.created_at and printing.is_terminal()
    return None if is_told else item.received_at


def _runs(item: EventView) -> str:
    """How many runs an event has, and how many steps were left out."""
    left_out = f", {len(item.left_out)} left out" if item.left_out else ""
    return f"{len(item.run_ids)}{left_out}"


def _draw_event(item: EventView, below: Sequence[TreeEventView]) -> None:
    printing.fields(
        (
            ("event", item.id),
            ("type", item.type),
            ("source", item.source),
            ("occurred", item.occurred_at),
            ("received", _received(item)),
            ("stored", printing.when_exactly(item.created_at)),
            ("caused by", None if item.caused_by is None else f"{item.caused_by.run_id} of {item.caused_by.event_id}"),
            ("root", item.root_event_id if item.depth else None),
            ("trace", item.traceparent),
            ("payload", json.dumps(item.payload, ensure_ascii=False, indent=2)),
        )
    )
    printing.line()
    if below:
        tree.draw(below)
    elif item.runs:
        draw_runs(item.runs)
    else:
        printing.line("No step matched it.")
    for share in item.left_out:
        printing.line(f"left out: {share.label}: {share.why}")
    if item.left_out:
        printing.note(left_out.remedy(item.id))
