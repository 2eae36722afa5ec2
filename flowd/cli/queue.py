"""``flowd queue``, ``pause``, ``resume`` and ``parallel``: what waits, and holding it up."""

from datetime import datetime

import click

from flowd.cli import drained, printing, run_words
from flowd.cli.exits import CommandError
from flowd.cli.filters import Filters, named_options, whole_list
from flowd.cli.names import FlowOrStepName
from flowd.cli.run_words import why
from flowd.cli.session import Session
from flowd.cli.verb import Text, Verb, absolute_option, as_json_option
from flowd_client import requests, wire
from flowd_client.views.run import read_run


@click.command(cls=Verb, short_help="Show what waits, for what, and since when.")
@named_options
@click.option("-n", "--limit", type=click.IntRange(1, wire.MAX_LIMIT), metavar="N", help="At most N. Default: 50.")
@click.option("--cursor", type=Text(), metavar="CURSOR", help="Continue where the last list ended.")
@absolute_option
@as_json_option
@click.pass_obj
def queue(session: Session, *, filters: Filters, limit: int | None, cursor: str | None, as_json: bool) -> None:
    """Show what is queued: first the runs that are ready, in the order in which they start, then those that wait for
    something, the oldest first; and what is paused.

    \b
    Examples:
      flowd queue
      flowd queue --flow release
      flowd queue --json | jq '{ready, waiting}'
    """
    response = whole_list(
        session,
        "runs",
        filters,
        lambda count, place: requests.queue(limit=count, cursor=place, **filters.named()),
        limit=limit,
        cursor=cursor,
    )
    if as_json:
        printing.print_json(response)
        return
    for pause in response.get("pauses", ()):
        printing.line(run_words.pause(pause))
    found = response.get("runs", ())
    if not found:
        from flowd.cli import typos  # noqa: PLC0415 - most lists are not empty

        typos.tell_empty(session, "Nothing is queued.", filters)
        return
    rows = []
    held = drained.held(session, (read_run(entry["run"]) for entry in found))
    for entry in found:
        run = read_run(entry["run"])
        waits = held if held and drained.is_ready(run) else why(run) or "ready"
        rows.append(
            (
                run.id,
                f"{run.flow_name}/{run.step_name}",
                run.event_id or "-",
                f"{waits}{_behind(entry.get('rounds'))}",
                printing.when(datetime.fromisoformat(entry["since"])),
            )
        )
    printing.table(
        ("RUN", "STEP", "EVENT", "WAITS", "SINCE"), rows, prose="WAITS", yields=("EVENT", "SINCE"), shared=("EVENT",)
    )
    more = response.get("nextCursor")
    if more:
        printing.note(f"{response['ready']} are ready, {response['waiting']} wait.")
        printing.note(f"More: {session.typed('queue', **filters.typed(), limit=limit, cursor=more)}")


def _behind(rounds: int | None) -> str:
    if not rounds:
        return ""
    return f" ({rounds} {'round waits' if rounds == 1 else 'rounds wait'} behind it)"


@click.command(cls=Verb, short_help="Start nothing of a flow, or nothing at all, until it is resumed.")
@click.argument("what", type=FlowOrStepName(), required=False, metavar="[FLOW[/STEP]]")
@as_json_option
@click.pass_obj
def pause(session: Session, what: str | None, as_json: bool) -> None:
    """Start no more runs of a flow, or of a step of it, or none at all. Events are accepted, and their runs wait until
    `flowd resume`, over restarts of the daemon too. What runs goes on to its end.

    \b
    Examples:
      flowd pause
      flowd pause release
      flowd pause release/publish
    """
    flow, step = _names(what)
    response = session.ask(requests.pause(flow, step))
    if as_json:
        printing.print_json(response)
        return
    printing.line(run_words.pause(response["pause"]))
    taken = response["runs"]
    if taken:
        printing.line(f"{taken} queued {'run waits' if taken == 1 else 'runs wait'} for that")


@click.command(cls=Verb, short_help="Let go what was paused, or queued before a copy was made.")
@click.argument("what", type=FlowOrStepName(), required=False, metavar="[FLOW[/STEP]]")
@as_json_option
@click.pass_obj
def resume(session: Session, what: str | None, as_json: bool) -> None:
    """End a pause: of a flow, of a step of it, or of all flows.

    Without a name, also let the runs start that were queued in a state that came from elsewhere: a copy of a
    workspace, or a clone with a state checked in. flowd starts none of them by itself; they may have run where the
    state was copied from.

    \b
    Examples:
      flowd queue
      flowd resume
      flowd resume release/publish
    """
    flow, step = _names(what)
    response = session.ask(requests.resume(flow, step))
    if as_json:
        printing.print_json(response)
        return
    count = response.get("runs")
    if flow is not None and not response.get("wasPaused"):
        printing.line(f"{response.get('what')} was not paused")
    elif count:
        printing.line(f"{count} {'run starts' if count == 1 else 'runs start'}")
    else:
        printing.line("no run waits for this")
    _tell_still_paused(session, flow, was_paused=bool(response.get("wasPaused")))


def _tell_still_paused(session: Session, flow: str | None, *, was_paused: bool) -> None:
    """What keeps runs of this that was resumed, for it was paused under another name."""
    pauses = run_words.pauses_of(session.ask(requests.queue(limit=1)).get("pauses", ()), flow)
    for pause in pauses:
        what = str(pause.get("what"))
        command = session.typed("resume") if what == "*" else session.typed("resume", what)
        printing.note(f"flowd: {run_words.pause(pause)}; `{command}` ends that")
    draining = drained.sentence(session)
    if draining:
        printing.note(f"flowd: {draining}")
    elif not pauses and not was_paused and flow is None:
        printing.note("flowd: nothing is paused")


@click.command(cls=Verb, short_help="Change how many runs are under way at once.")
@click.argument("places", type=click.IntRange(1, 10_000), metavar="N")
@as_json_option
@click.pass_obj
def parallel(session: Session, places: int, as_json: bool) -> None:
    """Change how many runs may be under way at once, until the daemon starts anew; the setting max_parallel is what it
    starts with. With fewer than now, what is under way goes on, and nothing starts until there is a place again.

    \b
    Examples:
      flowd parallel 2
    """
    response = session.ask(requests.parallel(places))
    if as_json:
        printing.print_json(response)
        return
    printing.line(f"at most {response['maxParallel']} at once; {response['running']} under way")


def _names(what: str | None) -> tuple[str | None, str | None]:
    """A flow and a step of it from ``FLOW[/STEP]``."""
    if what is None:
        return None, None
    flow, _, step = what.partition("/")
    if not flow or (not step and "/" in what):
        raise CommandError(f"{what!r} names no flow. Write FLOW or FLOW/STEP, or nothing for all.")
    return flow, step or None
