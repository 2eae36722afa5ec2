"""``flowd runs`` and ``flowd run``: list runs, and show one; what is drawn of one is in `flowd.cli.run_view`."""

from collections.abc import Sequence

import click

from flowd.cli import drained, printing, run_words
from flowd.cli.exits import CommandError
from flowd.cli.filters import Filters, filter_options, tell_more, whole_list
from flowd.cli.references import EventReference, RunReference, event_of, run_of
from flowd.cli.run_times import began_or_ended, duration_ms
from flowd.cli.session import Session
from flowd.cli.verb import Text, Verb, absolute_option, as_json_option, list_options
from flowd_client import requests
from flowd_client.views.run import RunView, read_run, read_runs


@click.command(cls=Verb, short_help="List runs, newest first.")
@click.option("--event", "--event-id", "event_id", type=EventReference(), metavar="EVENT", help="Only this event's.")
@click.option("--host", type=Text(), metavar="NAME", help="Only with an attempt on this host; see `flowd hosts`.")
@filter_options(of="of", searched="an id, the event's type, flow, step, error or message")
@list_options(following="Print what is running and queued, then each change.")
@click.pass_obj
def runs(
    session: Session,
    *,
    event_id: str | None,
    filters: Filters,
    host: str | None,
    limit: int | None,
    cursor: str | None,
    is_following: bool,
    after: str | None,
    as_json: bool,
) -> None:
    """List runs, newest first, or print them as they change.

    \b
    Examples:
      flowd runs --status failed
      flowd runs --event release-42 --json
      flowd runs --status needs_intervention --limit 5
      flowd runs --flow release --since 2h --label repo=flowd
      flowd runs --host box-2 --status failed
      flowd runs -f --flow release-notes
    """
    event_id = None if event_id is None else event_of(session, event_id)
    if is_following:
        from flowd.cli import typos  # noqa: PLC0415 - as below
        from flowd.cli.follow import runs as follow_runs  # noqa: PLC0415 - 5 ms that a list does not pay

        filters.refuse("since", "until", "text")
        if host is not None:
            raise CommandError("--host is for lists, not for -f, which prints what happens from now on.")
        typos.tell(session, filters)
        follow_runs.follow(session, event_id=event_id, filters=filters, after=after, as_json=as_json)
        return
    response = whole_list(
        session,
        "runs",
        filters,
        lambda count, place: requests.list_runs(
            event_id=event_id, limit=count, cursor=place, host=host, **filters._asdict()
        ),
        limit=limit,
        cursor=cursor,
    )
    if as_json:
        printing.print_json(response)
    if not response["runs"]:
        from flowd.cli import typos  # noqa: PLC0415 - most lists are not empty

        typos.tell_empty(session, "No runs.", filters, event_id=event_id, host=host, as_json=as_json)
    if as_json:
        return
    page = read_runs(response)
    if page:
        draw_runs(page.items, held=drained.held(session, page.items))
    if page.next_cursor:
        more = session.typed("runs", event=event_id, host=host, **filters.typed(), limit=limit, cursor=page.next_cursor)
        tell_more(len(page.items), more, limit=limit)
    if event_id is not None and host is None and filters in (Filters(), Filters(flow=filters.flow)):
        _tell_left_out(session, event_id, filters.flow)


def _tell_left_out(session: Session, event_id: str, flow: str | None) -> None:
    """Name the steps that an event has no runs of because they could not be started."""
    from flowd.cli import left_out  # noqa: PLC0415 - most lists are not of an event
    from flowd_client.errors import NotFoundError  # noqa: PLC0415 - as above

    try:
        shares = session.view(requests.get_event(event_id)).left_out
    except NotFoundError:
        return
    left_out.tell(event_id, [share for share in shares if flow is None or share.flow in (flow, "*")])


@click.command(cls=Verb, short_help="Show a run: why it ended so, its attempts, the end of its output.")
@click.argument("run_id", type=RunReference(), metavar="RUN")
@click.option("--full", is_flag=True, help="All that is known of it and of each attempt, and more of its output.")
@click.option("--definition", is_flag=True, help="Show what its last attempt was made with, too.")
@absolute_option
@as_json_option
@click.pass_obj
def run(session: Session, run_id: str, *, full: bool, definition: bool, as_json: bool) -> None:
    """Show a run on one screen: how it ended and why, which attempt that was, when the next one comes, and what it
    printed last.

    \b
    Examples:
      flowd run run_16439a6acab8
      flowd run @failed --full
      flowd run run_16439a6acab8 --definition
      flowd run run_16439a6acab8 --json | jq .run.result
    """
    response = session.ask(requests.get_run(run_of(session, run_id), definition=definition or not as_json))
    if as_json:
        printing.print_json(response)
        return
    from flowd.cli import run_view  # noqa: PLC0415 - a list does not pay for it

    view = read_run(response)
    held = drained.held(session, [view])
    run_view.draw(session, view, held or run_words.why(view), is_full=full)
    if definition and view.definition is not None:
        run_view.draw_definition(view.definition)


def draw_runs(items: Sequence[RunView], *, held: str | None = None) -> None:
    """Runs as a table, with the first sentence of each one's error if there is any.

    Args:
        held: What keeps those that are ready, as `flowd.cli.drained` says it.
    """
    whys = [held if held and drained.is_ready(item) else run_words.why(item) for item in items]
    rows: list[tuple[str, ...]] = [
        (
            item.id,
            item.effective_status,
            f"{item.flow_name}/{item.step_name}",
            item.event_id or "-",
            began_or_ended(item),
            printing.took(duration_ms(item)),
        )
        for item in items
    ]
    headers: tuple[str, ...] = ("RUN", "STATUS", "STEP", "EVENT", "STARTED", "TOOK")
    if any(whys):
        headers, rows = (*headers, "WHY"), [(*row, why) for row, why in zip(rows, whys, strict=True)]
    printing.table(
        headers, rows, prose="WHY", yields=("EVENT", "TOOK", "STARTED"), whole=("STATUS",), shared=("EVENT",)
    )
