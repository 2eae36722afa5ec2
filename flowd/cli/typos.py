"""Says of a list that came out empty that what it was asked for is not there, and what was perhaps meant."""

from collections.abc import Iterator

from flowd.cli import printing
from flowd.cli.exits import CommandError, Exit
from flowd.cli.filters import Filters
from flowd.cli.leads import did_you_mean
from flowd.cli.session import Session
from flowd_client import requests
from flowd_client.errors import NotFoundError
from flowd_client.views.catalog import CatalogView
from flowd_client.views.event import read_events
from flowd_client.views.run import read_runs

_EVENTS = 200
"""The newest of those that are stored; their types are known."""


def tell_empty(
    session: Session,
    said: str,
    filters: Filters,
    event_type: str | None = None,
    *,
    event_id: str | None = None,
    host: str | None = None,
    as_json: bool = False,
) -> None:
    """Say of a list that it is empty, or why it must be. As JSON, only the latter, for the list says the other.

    Raises:
        CommandError: As `refuse`, and the list is for people.
    """
    doubted = doubt(session, filters, event_type, event_id, host)
    if doubted is None:
        if not as_json:
            printing.note(said)
    elif as_json:
        printing.note(f"flowd: {doubted}")
    else:
        raise CommandError(doubted, Exit.NOT_FOUND)


def refuse(session: Session, filters: Filters, event_type: str | None = None) -> None:
    """Refuse names that nothing has.

    Raises:
        CommandError: There is no such flow, step, or type of events, neither in force nor among what is stored.
    """
    said = doubt(session, filters, event_type)
    if said is not None:
        raise CommandError(said, Exit.NOT_FOUND)


def tell(session: Session, filters: Filters, event_type: str | None = None) -> None:
    """Say so on stderr, for those who go on: whoever follows may wait for what is yet to come."""
    said = doubt(session, filters, event_type)
    if said is not None:
        printing.note(f"flowd: {said}")


def doubt(
    session: Session,
    filters: Filters,
    event_type: str | None = None,
    event_id: str | None = None,
    host: str | None = None,
) -> str | None:
    """Which name is none, as a sentence; None where all are names of something."""
    if event_id is not None and not _is_event(session, event_id):
        return f"Unknown event: {event_id}. `{session.typed('events')}` lists the stored ones."
    if host is not None and (said := _host_doubt(session, host)):
        return said
    if filters.flow is None and filters.step is None and event_type is None:
        return None
    view = session.view(requests.list_flows())
    return next(_doubts(session, view, filters, event_type), None)


def _is_event(session: Session, event_id: str) -> bool:
    try:
        session.ask(requests.get_event(event_id))
    except NotFoundError:
        return False
    return True


def _host_doubt(session: Session, host: str) -> str | None:
    hosts = {one.name for one in session.view(requests.hosts())}
    if host in hosts or _has_run(session, host=host):
        return None
    return f"There is no host {host!r}.{did_you_mean(host, hosts)} `{session.typed('hosts')}` lists them."


def _doubts(session: Session, view: CatalogView, filters: Filters, event_type: str | None) -> Iterator[str]:
    flow, step = filters.flow, filters.step
    flows = {one.name for one in view.flows} | {one.name for one in view.broken}
    if flow is not None and flow not in flows and not _has_run(session, flow=flow):
        yield f"There is no flow {flow!r}.{did_you_mean(flow, flows)} `{session.typed('flows')}` lists them."
    steps = {one.name for of in view.flows for one in of.steps if flow in (None, of.name)}
    if step is not None and step not in steps and not _has_run(session, flow=flow, step=step):
        of = "" if flow is None else f" of flow {flow!r}"
        yield f"There is no step {step!r}{of}.{did_you_mean(step, steps)}"
    if event_type is not None and not _has_event(session, event_type):
        types = {one.trigger_type for of in view.flows for one in of.steps if one.trigger_type}
        types |= {one.type for of in view.flows for one in of.schedules}
        types |= {one.type for of in view.flows for one in of.watches}
        if event_type not in types:
            stored = read_events(session.ask(requests.list_events(limit=_EVENTS)))
            types |= {one.type for one in stored if one.type}
            yield f"No step waits for type {event_type!r}, and no event has it.{did_you_mean(event_type, types)}"


def _has_run(session: Session, *, flow: str | None = None, step: str | None = None, host: str | None = None) -> bool:
    cursor = None
    while True:
        page = read_runs(session.ask(requests.list_runs(flow=flow, step=step, host=host, limit=1, cursor=cursor)))
        if page.items or (cursor := page.next_cursor) is None:
            return bool(page.items)


def _has_event(session: Session, event_type: str) -> bool:
    return bool(read_events(session.ask(requests.list_events(type=event_type, limit=1))))
