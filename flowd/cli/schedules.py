"""``flowd schedules``: what comes by itself, and when."""

from typing import Any

import click

from flowd.cli import printing
from flowd.cli.names import FlowName
from flowd.cli.session import Session
from flowd.cli.verb import Verb, absolute_option, as_json_option
from flowd_client import requests, wire
from flowd_client.views.schedule import ScheduleView, SlotView, read_schedules


@click.command(cls=Verb, short_help="List what comes by itself, when, and how the last times ended.")
@click.argument("flow", type=FlowName(), required=False, metavar="[FLOW]")
@click.option("-n", "--limit", type=click.IntRange(1), metavar="N", help="At most N. Default: all.")
@absolute_option
@as_json_option
@click.pass_obj
def schedules(session: Session, flow: str | None, *, limit: int | None, as_json: bool) -> None:
    """List the schedules of all flows, or of FLOW: when each comes next, by the clock of its zone, and how the last
    three times ended. Packages have them in flow.toml, under [[schedules]].

    \b
    Examples:
      flowd schedules
      flowd schedules backup
      flowd schedules --json | jq -r '.schedules[] | [.next, .flow, .name] | @tsv'
    """
    response = _whole(session, flow, limit)
    if as_json:
        printing.print_json(response)
        return
    view = read_schedules(response)
    if view:
        printing.table(
            ("SCHEDULE", "NEXT", "ZONE", "CRON", "CATCH UP", "STATE", "LAST"),
            [_row(one) for one in sorted(view, key=lambda one: (one.next is None, one.next))],
            yields=("LAST", "CATCH UP", "ZONE", "CRON"),
            whole=("NEXT",),
        )
    else:
        printing.note("Nothing comes by itself. [[schedules]] in a flow.toml makes it.")
    for one in view:
        if one.problem:
            printing.line(f"{one.flow}/{one.name}: {one.problem}")
    for package in response.get("broken", ()):
        where = package["file"] if package.get("line") is None else f"{package['file']}:{package['line']}"
        printing.line(f"{printing.status('broken')} {package['name']}: {where}: {package['error']}")


def _whole(session: Session, flow: str | None, limit: int | None) -> dict[str, Any]:
    """The list, however many pages it has."""
    found: list[object] = []
    cursor: str | None = None
    while True:
        count = wire.MAX_LIMIT if limit is None else min(wire.MAX_LIMIT, limit - len(found))
        response = session.ask(requests.schedules(flow=flow, limit=count, cursor=cursor))
        found += response.get("schedules", ())
        cursor = response.get("nextCursor")
        if cursor is None or (limit is not None and len(found) >= limit):
            return {**response, "schedules": found}


def _row(one: ScheduleView) -> tuple[str, ...]:
    return (
        f"{one.flow}/{one.name}",
        _next(one),
        one.timezone,
        one.cron,
        one.catch_up,
        one.state,
        ", ".join(map(last, one.last)) or "-",
    )


def _next(one: ScheduleView) -> str:
    """When it comes next: how far ahead for a person, unless times are wanted; then by the clock of its zone."""
    is_near = one.next is not None and printing.is_terminal() and not printing.wants_times()
    return printing.when(one.next) if is_near else one.next_local or "-"


def last(slot: SlotView) -> str:
    """How a slot ended, for a list.

    >>> last(SlotView(None, "schedule:backup/night:2026-11-29T02:00:00Z", None, None))
    'forgotten (2026-11-29T02:00Z)'
    """
    when = slot.event_id[-20:].removesuffix(":00Z")
    return f"{slot.status or 'forgotten'} ({when}Z)"
