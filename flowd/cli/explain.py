"""``flowd explain``: says for each step why it would run for an event, or why not."""

from collections.abc import Iterator
from typing import Any

import click

from flowd.cli import graph, printing, time_words
from flowd.cli.exits import CommandError
from flowd.cli.flows import by_itself
from flowd.cli.leads import near
from flowd.cli.names import EventFile, JsonOrFile, TypeName
from flowd.cli.reading_events import one_of, read_event, read_payload, with_options
from flowd.cli.session import Session
from flowd.cli.verb import Text, Verb, as_json_option
from flowd_client import requests
from flowd_client.errors import DaemonNotRunningError
from flowd_client.views.catalog import ExplainView, VerdictView, read_explain

_MAX_LINES = 30
"""Steps of other types beyond this are counted, not listed: what was meant is among the near misses."""


@click.command(cls=Verb, short_help="Say why each step would run for an event, or not.")
@click.argument("event", type=EventFile(), required=False, metavar="EVENT.json|-")
@click.option("--event", "event_option", type=EventFile(), metavar="FILE", help="The same as the argument.")
@click.option("--id", "event_id", type=Text(), help="The event's id. It may have none here.")
@click.option("--type", "event_type", type=TypeName(), help="The event's type.")
@click.option("--source", type=Text(), help="Who sends it.")
@click.option("--payload", type=JsonOrFile(), metavar="JSON|@FILE", help="The payload.")
@as_json_option
@click.pass_obj
def explain(
    session: Session,
    *,
    event: str | None,
    event_option: str | None,
    event_id: str | None,
    event_type: str | None,
    source: str | None,
    payload: str | None,
    as_json: bool,
) -> None:
    """Say for each step whether it would run for an event, and if not, why. Stores and starts nothing.

    The event is as for flowd dispatch: from a file, from stdin, or made of options. It needs no id.

    Asks the daemon; where none runs, reads the packages on disk.

    \b
    Examples:
      flowd explain event.json
      flowd explain --type build.requested --payload '{"ref":"main"}'
      flowd explain - --json < event.json
    """
    path = one_of(event, event_option)
    body = with_options(
        None if path is None else read_event(path),
        id=event_id,
        type=event_type,
        source=source,
        payload=None if payload is None else read_payload(payload),
    )
    if body is None:
        raise CommandError(
            "Which event? Name a file, - for stdin, or give at least --type. `flowd explain -h` shows how."
        )
    if isinstance(body, dict) and (path is None or body.get("id") is None):
        body = {**body, "id": event_id or "event"}  # nothing is stored, so no other one has it
    try:
        response = session.ask(requests.explain(body))
    except DaemonNotRunningError:
        printing.note("flowd: No daemon runs; this is what the packages on disk say.")
        response = _explain_here(session, body)
    if as_json:
        printing.print_json(response)
        return
    view = read_explain(response)
    noun = "step matches" if view.matched == 1 else "steps match"
    meant = meant_type(view)
    asked = f"; did you mean {meant}?" if meant else ""
    printing.line(f"{view.matched} {noun} {view.event_id} ({view.type}){asked}")
    if view.not_before and view.matched and (time_words.left_s(view.not_before) or 0) > 0:
        printing.line(f"runs start at {time_words.on_the_clock(view.not_before)}, for the event says notBefore")
    for label in view.watches:
        printing.line(f"watch {label} sends such events")
    draw_verdicts(view)


def _explain_here(session: Session, body: object) -> Any:
    from flowd.cli import disk  # noqa: PLC0415 - 60 ms that asking the daemon does not pay

    return disk.explain(session.workspace, body)


def draw_verdicts(view: ExplainView) -> None:
    """A line or two for each step: matches first, then near misses, then the rest."""
    for broken in view.broken:
        if broken.is_stale:  # first, for what follows is not what its files say
            said = f"{broken.sentence()} Its last good version is in force."
            printing.line(f"{printing.status('broken')} {broken.name}: {said}")
    drawn = _draw_rounds(view)
    others = [verdict for verdict in view.steps if verdict.flow not in drawn]
    steps = sorted(others, key=lambda verdict: _rank(verdict, view.type))
    for verdict in steps[:_MAX_LINES]:
        for text in sentences(verdict, view.type):
            printing.line(text)
    if len(steps) > _MAX_LINES:
        printing.line(f"… and {len(steps) - _MAX_LINES} more steps; --json lists all")
    for schedule in view.schedules[:_MAX_LINES]:
        printing.line(f"schedule {schedule.flow}/{schedule.name}: {by_itself(schedule)}")
    for broken in view.broken:
        if not broken.is_stale:
            printing.line(f"{printing.status('broken')} {broken.name}: {broken.sentence()}")
    if not view.steps and not view.broken:
        printing.line("there is no flow package. `flowd new NAME` writes one.")


def _rank(verdict: VerdictView, event_type: str | None) -> int:
    """How much a step's verdict says of what becomes of the event: the least says the most. Steps that need others
    follow those that a trigger starts, for theirs is why they are not started."""
    if verdict.reason == "needs" and verdict.trigger_type == event_type:
        return 2
    return {"matched": 0, "schema": 1, "type": 3, "needs": 4, "no_trigger": 5}.get(verdict.reason, 6)


def meant_type(view: ExplainView) -> str | None:
    """The type that an event's was probably meant to be, where no step waits for it as it is."""
    if view.matched or any(verdict.reason == "schema" for verdict in view.steps):
        return None
    known = sorted({verdict.trigger_type for verdict in view.steps if verdict.trigger_type})
    exact = [one for one in known if "*" not in one]
    return next(iter(near(view.type or "", exact)), None) if view.type not in known else None


def _draw_rounds(view: ExplainView) -> set[str]:
    """The steps of each flow that the event starts and whose steps need each other, in their order. Those flows."""
    flows: dict[str, dict[str, VerdictView]] = {}
    for verdict in view.steps:
        flows.setdefault(verdict.flow, {})[verdict.step] = verdict
    drawn = {
        flow
        for flow, steps in flows.items()
        if any(verdict.needs for verdict in steps.values()) and any(verdict.matches for verdict in steps.values())
    }
    for flow, steps in flows.items():
        if flow in drawn:
            _draw_round(flow, steps, view.type)
    return drawn


def _draw_round(flow: str, steps: dict[str, VerdictView], event_type: str | None) -> None:
    printing.line(f"{flow}:")
    needs = {name: verdict.needs for name, verdict in steps.items()}
    for text in graph.lines(needs, lambda name: _word(steps[name], event_type)):
        printing.line(f"  {text}")
    for verdict in steps.values():
        _draw_more(verdict)


def _word(verdict: VerdictView, event_type: str | None) -> str:
    """What becomes of a step, for beside its name."""
    if verdict.matches:
        times = time_words.asked(verdict.delay_ms, verdict.queue_timeout_ms, verdict.debounce)
        return "; ".join([printing.status("matched"), *times])
    return f"not started: {next(sentences(verdict, event_type)).partition(': ')[2].removesuffix(':')}"


def _draw_more(verdict: VerdictView) -> None:
    """What is to be said of a step beyond a line."""
    _, *more = sentences(verdict, None)
    for text in more:
        printing.line(f"  {verdict.step}:{text[3:]}")


def sentences(verdict: VerdictView, event_type: str | None) -> Iterator[str]:
    """What a step says to the event: a line, and more where its payload does not fit."""
    label = f"{verdict.flow}/{verdict.step}"
    match verdict.reason:
        case "matched":
            times = time_words.asked(verdict.delay_ms, verdict.queue_timeout_ms, verdict.debounce)
            yield "; ".join([f"{label}: {printing.status('matched')}", *times])
            if verdict.host_names:
                yield f"    on host {' or '.join(verdict.host_names)}"
            if verdict.warning:
                yield f"    but {verdict.warning}"
        case "needs":
            one = len(verdict.missing) == 1
            yield f"{label}: needs {' and '.join(verdict.missing)}, which {'is' if one else 'are'} not started"
        case "no_trigger":
            yield f"{label}: has no trigger, so no event starts it"
        case "type":
            yield f"{label}: waits for type {verdict.trigger_type}, not {event_type}"
        case "schema":
            yield f"{label}: the payload does not fit {verdict.schema}:"
            for error in verdict.errors:
                yield f"    {error.path} {error.keyword}: {error.message}"
        case _:
            yield f"{label}: {verdict.reason}"
