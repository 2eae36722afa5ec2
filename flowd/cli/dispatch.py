"""``flowd dispatch``: sends an event, and reports what came of it."""

import shlex
from collections.abc import Mapping
from typing import Any

import click

from flowd.cli import left_out, printing, tree, waiting
from flowd.cli.exits import CommandError, Exit
from flowd.cli.later import Later, later
from flowd.cli.names import EventFile, JsonOrFile, TypeName
from flowd.cli.reading_events import one_of, read_event, read_payload, require_type, with_id, with_options
from flowd.cli.runs import draw_runs
from flowd.cli.session import Session
from flowd.cli.verb import Duration, Text, Verb, only_option, wait_options
from flowd_client import requests
from flowd_client.errors import ConflictError, ConnectionLostError, InvalidCallError, TimedOutError
from flowd_client.views.event import DispatchView, read_dispatch


@click.command(cls=Verb, short_help="Send an event; every matching step runs.")
@click.argument("event", type=EventFile(), required=False, metavar="[EVENT.json|-]")
@click.option("--event", "event_option", type=EventFile(), metavar="FILE", help="The same as the argument.")
@click.option(
    "--id",
    "event_id",
    type=Text(),
    help="The event's id: sending one id twice runs nothing twice. Default: the one in the file, else a new one.",
)
@click.option("--type", "event_type", type=TypeName(), help="The event's type.")
@click.option("--source", type=Text(), help="Who sends it.")
@click.option("--payload", type=JsonOrFile(), metavar="JSON|@FILE", help="The payload.")
@click.option("--not-before", type=Later(), help="Its runs start then: 2026-01-31T14:05, local time unless it says.")
@click.option("--in", "in_s", type=Duration(), help="Its runs start so long from now: 90s, 10m, 7d.")
@click.option(
    "--traceparent", type=Text(), help="Of the trace that it belongs to (W3C). Default: TRACEPARENT of the environment."
)
@click.option("--require-match", is_flag=True, help="Store nothing and exit with 5 if no step matches.")
@click.option(
    "-f", "--follow", is_flag=True, help="Print the output of its runs and of all that they cause, to the end of all."
)
@wait_options("Wait for the runs and all that they cause; exit 1 if one ends badly or is held, as by a pause.")
@only_option
@click.pass_obj
def dispatch(
    session: Session,
    *,
    event: str | None,
    event_option: str | None,
    event_id: str | None,
    event_type: str | None,
    source: str | None,
    payload: str | None,
    not_before: str | None,
    in_s: float | None,
    traceparent: str | None,
    require_match: bool,
    follow: bool,
    wait: bool,
    timeout_s: float | None,
    as_json: bool,
    is_alone: bool,
) -> int:
    """Send an event, from a file, from stdin (-), or made of options; options win over the file.

    When this returns, the event and a run for each matching step are on the daemon's disk. Where no step matches, that
    is told on stderr with the nearest misses. An event whose id is known starts nothing; what is told and waited for is
    the newest run of each of its steps then, also of a replay.

    With --follow, stdout and stderr have what its steps print, and stderr how each run ended as soon as it has, how
    each attempt did behind which another comes, and at last once more what ended badly; it exits with 1 if one did.

    \b
    Examples:
      flowd dispatch event.json --wait
      flowd dispatch event.json --follow
      flowd dispatch --type build.requested --payload '{"ref":"main"}'
      flowd dispatch --type report.due --in 10m
      curl -s https://example.org/event | flowd dispatch - --json
    """
    if follow and (as_json or timeout_s is not None):
        raise CommandError("--follow prints output, to the end: leave --json and --timeout out, or take --wait.")
    path = one_of(event, event_option)
    body = with_options(
        None if path is None else read_event(path),
        id=event_id,
        type=event_type,
        source=source,
        payload=None if payload is None else read_payload(payload),
        notBefore=later(not_before, in_s),
    )
    if body is None:
        raise CommandError(
            "Which event? Name a file, - for stdin, or give at least --type. `flowd dispatch -h` shows how."
        )
    if isinstance(body, dict):
        require_type(body)
        body = with_id(body)
    # Waiting is done run by run afterwards: what was accepted is known at once, and Ctrl-C or a restart of the
    # daemon in between loses nothing.
    try:
        response = _hand_in(session, body, traceparent, require_match=require_match)
    except ConflictError as error:
        if error.slug == "no_match":
            tell_nearest(session, body, error.message)
            return Exit.REFUSED
        raise
    if not as_json:
        tell_accepted(session, read_dispatch(response), is_followed=follow)
    elif response.get("warning"):
        printing.note(f"flowd: {response['warning']}")
    if follow and response.get("runIds"):
        from flowd.cli import following  # noqa: PLC0415 - 5 ms that nobody else pays

        return following.to_the_end(session, read_dispatch(response).event_id, is_alone=is_alone)
    code = finish(session, response, wait=wait, timeout_s=timeout_s, as_json=as_json, is_alone=is_alone)
    if not as_json and not response.get("runIds"):
        tell_nearest(session, body, "No step matches, so nothing runs.")
    # A daemon of before an update does not know the wish, and has stored the event.
    return Exit.REFUSED if require_match and not response.get("runIds") else code


def _hand_in(session: Session, body: Any, traceparent: str | None, *, require_match: bool) -> Any:
    try:
        response = session.ask(requests.dispatch_event(body, traceparent=traceparent, require_match=require_match))
    except (ConnectionLostError, TimedOutError) as error:
        # It may be stored, and an id that was made here is known to nobody who wants to look or to send it again.
        event_id = body.get("id") if isinstance(body, dict) else None
        told = f" Its id: {shlex.quote(event_id)}." if isinstance(event_id, str) else ""
        raise CommandError(error.message + told, Exit.NO_DAEMON) from error
    if not read_dispatch(response).is_duplicate:
        return response
    from flowd.cli import known  # noqa: PLC0415 - most events are new

    return known.as_it_is_now(session, response)


def tell_accepted(session: Session, view: DispatchView, *, is_followed: bool = False) -> None:
    """What was accepted, in a line; on stderr where stdout is for the output of steps."""
    say = printing.note if is_followed else printing.line
    if view.is_duplicate:
        count = len(view.event.run_ids if view.event else view.run_ids)
        known = "1 run" if count == 1 else f"{count} runs"
        say(f"{printing.status('duplicate')} {view.event_id}: known already with {known}, nothing started")
        if view.conflict:
            printing.note(f"flowd: {view.warning or 'The stored event with this id has other content.'}")
        elif all(run.is_final for run in view.runs):  # else whoever sends it again waits for them
            printing.note(f"flowd: To run it again: {session.typed('replay', view.event_id)}")
    else:
        noun = "run" if view.matched == 1 else "runs"
        say(f"{printing.status('accepted')} {view.event_id}: {view.matched} {noun}")
        if view.warning:
            printing.note(f"flowd: {view.warning}")
    for share in view.outside:
        printing.note(f"flowd: not started: {share.label}: {share.why}")
    left_out.tell(view.event_id, view.left_out)


def finish(
    session: Session,
    response: dict[str, Any],
    *,
    wait: bool,
    timeout_s: float | None,
    as_json: bool,
    is_alone: bool,
) -> int:
    """Wait if asked to, show the runs, and give the exit code. For dispatch and replay alike."""
    view = read_dispatch(response)
    if wait and view.run_ids and not is_alone:
        try:
            return _finish_tree(session, response, timeout_s=timeout_s, as_json=as_json)
        except InvalidCallError as error:
            if error.slug != "method_not_found":  # else the daemon is of before an update, and knows no trees
                raise
    hint = f"See `{session.typed('runs', event=view.event_id)}`."
    is_late = False
    if wait and view.run_ids:
        stored = f"Event {view.event_id} is stored with its runs"
        records, is_late = waiting.wait_for(session, view.run_ids, timeout_s=timeout_s, stored=stored, hint=hint)
        response = {**response, "runs": records, "timedOut": is_late}
    runs = read_dispatch(response).runs
    if as_json:
        printing.print_json(response)
    elif runs:
        draw_runs(runs)
    if not wait:
        return Exit.GOOD
    return waiting.verdict(session, runs, is_late=is_late, timeout_s=timeout_s, hint=hint)


def _finish_tree(session: Session, response: dict[str, Any], *, timeout_s: float | None, as_json: bool) -> int:
    view = read_dispatch(response)
    hint = f"See `{session.typed('event', view.event_id)}`."
    stored = f"Event {view.event_id} is stored with its runs"
    state, is_late = waiting.wait_for_event(session, view.event_id, timeout_s=timeout_s, stored=stored, hint=hint)
    events = tree.read(session, view.event_id)
    # Of a known event another round may have begun meanwhile, and was waited for, too.
    runs = tree.newest(events[0]) if view.is_duplicate else [run for run in events[0].runs if run.id in view.run_ids]
    if as_json:
        shown = {"runIds": [run.id for run in runs], "runs": [run.raw for run in runs]}
        printing.print_json({**response, **shown, "timedOut": is_late, "state": state.raw})
    elif len(events) > 1:
        tree.draw(events)
    elif runs:
        draw_runs(runs)
    considered = tree.newest_below(events, runs)
    return waiting.verdict(session, considered, is_late=is_late, timeout_s=timeout_s, hint=hint)


def tell_nearest(session: Session, body: Mapping[str, Any], sentence: str) -> bool:
    """That nothing matches, and what almost does; nothing and True where a step does by now."""
    from flowd.cli import nearest  # noqa: PLC0415 - mostly something matches

    view = session.view(requests.explain(body))
    if not view.matched:
        nearest.tell(session, view, sentence)
    return bool(view.matched)
