"""``flowd replay``, ``flowd retry`` and ``flowd cancel``: act on stored events and runs."""

from collections.abc import Mapping
from typing import Any

import click

from flowd.cli import bulk, passed_needs, printing, retrying
from flowd.cli.dispatch import finish, tell_accepted, tell_nearest
from flowd.cli.exits import CommandError, Exit
from flowd.cli.filters import Filters, filter_options
from flowd.cli.names import StepName, TypeName
from flowd.cli.references import (
    EventReference,
    NamesEventError,
    RunOrEventReference,
    RunReference,
    event_of,
    run_of,
)
from flowd.cli.runs import draw_runs
from flowd.cli.session import Session
from flowd.cli.verb import Verb, as_json_option, only_option, wait_options
from flowd_client import requests
from flowd_client.views.event import read_dispatch
from flowd_client.views.run import read_run, read_runs

_UNFINISHED = ("queued", "running")
_RETRYABLE = ("failed", "canceled", "blocked", "needs_intervention")

_dry_run_option = click.option("--dry-run", is_flag=True, help="With filters: list what is meant, and change nothing.")


def _refuse_dry_run(dry_run: bool) -> None:
    if dry_run:
        raise CommandError("--dry-run is for filters, which mean all that fit.")


@click.command(cls=Verb, short_help="Run a stored event's steps again.")
@click.argument("event_id", type=EventReference(), required=False, metavar="EVENT")
@click.option(
    "--step",
    "steps",
    type=StepName(),
    multiple=True,
    metavar="STEP",
    help="Only this step or flow/step; may be repeated.",
)
@click.option(
    "--from",
    "from_steps",
    type=StepName(),
    multiple=True,
    metavar="STEP",
    help="This step and all that need it; may be repeated.",
)
@click.option("--missing", is_flag=True, help="Only steps that match now and have no run of this event yet.")
@click.option("--type", "event_type", type=TypeName(), metavar="TYPE", help="All events of this type.")
@filter_options(of="events with a run of", searched="an event's id, type or source", but="--step")
@_dry_run_option
@wait_options("Wait for the runs and all that they cause; exit 1 if one ends badly or is held, as by a pause.")
@only_option
@click.pass_obj
def replay(
    session: Session,
    *,
    event_id: str | None,
    event_type: str | None,
    filters: Filters,
    dry_run: bool,
    steps: tuple[str, ...],
    from_steps: tuple[str, ...],
    missing: bool,
    wait: bool,
    timeout_s: float | None,
    as_json: bool,
    is_alone: bool,
) -> int:
    """Make new runs for a stored event, of the steps that match it now. The old runs stay as they are.

    With --step or --from, what these steps need of others is taken from the newest runs of those. The steps that you
    name start whatever those ended as, also where one failed or a person rejected it; a note says so. Over HTTP this
    takes the scope control.

    With --missing, only what the event has not started yet, because its package was broken then or not there. Where
    nothing starts, stderr says why.

    Instead of an event, filters like those of `flowd events` name all that fit.

    \b
    Examples:
      flowd replay release-42 --wait
      flowd replay release-42 --step publish
      flowd replay release-42 --from build
      flowd replay release-42 --missing
      flowd replay --flow release --status failed --since 7d --dry-run
    """
    bulk.refuse_both(filters._replace(text=filters.text or event_type), event_id)
    if event_id is None:
        if filters == Filters() and event_type is None:
            raise CommandError("Which event? Give its id, or filters like --flow and --since, which mean all that fit.")
        if wait:
            raise CommandError("--wait is for one event: name it.")
        return bulk.act(
            session,
            ((event.id, event.type or "") for event in bulk.events(session, event_type, filters)),
            lambda found: requests.replay_event(
                found, steps=steps or None, missing=missing, from_steps=from_steps or None
            ),
            filters=filters,
            event_type=event_type,
            noun="event",
            done="replayed",
            dry_run=dry_run,
            as_json=as_json,
        )
    _refuse_dry_run(dry_run)
    event_id = event_of(session, event_id)
    request = requests.replay_event(
        event_id,
        steps=steps or None,
        missing=missing,
        from_steps=from_steps or None,
        tree=not is_alone,
        will_wait=wait and timeout_s != 0,
    )
    response = session.ask(request)
    view = read_dispatch(response)
    if not as_json:
        tell_accepted(session, view)
    if (steps or from_steps) and view.runs:
        passed_needs.tell(session, view, (*steps, *from_steps))
    code = finish(session, response, wait=wait, timeout_s=timeout_s, as_json=as_json, is_alone=is_alone)
    if not as_json and not view.run_ids:
        _tell_why_none(session, response["event"]["raw"], missing=missing)
    return code


def _tell_why_none(session: Session, event: Mapping[str, Any], *, missing: bool) -> None:
    """Why a replay of an event starts nothing."""
    if tell_nearest(session, event, "No step matches, so nothing runs.") and missing:
        printing.note("flowd: Every step that matches has a run of it already.")


@click.command(cls=Verb, short_help="Make another attempt of a run that ended badly.")
@click.argument("run_id", type=RunOrEventReference(), required=False, metavar="[RUN|EVENT]")
@click.option(
    "--event", "event_id", type=EventReference(), metavar="EVENT", help="All that failed of this event's tree."
)
@click.option("--failed", is_flag=True, help="All that failed: what retrying an event means anyway.")
@filter_options(of="runs of", searched="an id, the event's type, flow, step, error or message")
@_dry_run_option
@only_option
@wait_options("Wait for the end; exit 1 if it ends badly or is held, as by a pause.")
@click.pass_obj
def retry(
    session: Session,
    *,
    run_id: str | None,
    event_id: str | None,
    failed: bool,
    filters: Filters,
    dry_run: bool,
    is_alone: bool,
    wait: bool,
    timeout_s: float | None,
    as_json: bool,
) -> int:
    """Make another attempt of a run that ended failed, canceled, blocked or needing intervention, or of all runs that
    failed of an event and of what its runs caused, or of all that filters like those of `flowd runs` find: those that
    failed, unless --status says another. FLOW/STEP means the newest run of the step of which an attempt has ended.

    \b
    Examples:
      flowd retry run_16439a6acab8 --wait
      flowd retry release/test --wait
      flowd retry release-42 --wait
      flowd retry --flow release --since 2h --dry-run
      flowd retry --reason timeout --label repo=flowd
    """
    bulk.refuse_both(filters, run_id, event_id)
    if filters != Filters():
        status = filters.status or "failed"
        if status not in _RETRYABLE:
            raise CommandError(f"--status {status}: what can be retried is {', '.join(_RETRYABLE)}.")
        if wait:
            raise CommandError("--wait is for one run or one event: name it.")
        return bulk.act(
            session,
            ((run.id, bulk.label_of(run)) for run in bulk.runs(session, filters, (status,))),
            requests.retry_run,
            filters=filters,
            noun="run",
            done="retried",
            dry_run=dry_run,
            as_json=as_json,
        )
    _refuse_dry_run(dry_run)
    if (run_id is None) == (event_id is None):
        raise CommandError("Which runs? Give either a run, or an event, or filters like --flow and --since.")
    if run_id is None:
        event_id = event_of(session, event_id or "")
    else:
        run_id, event_id = retrying.run_or_event_to_retry(session, run_id)
    if event_id is not None:
        return retrying.retry_failed(
            session, event_id, is_alone=is_alone, wait=wait, timeout_s=timeout_s, as_json=as_json
        )
    assert run_id is not None
    if failed:
        raise CommandError("--failed is of an event, or of all: leave it out for a run.")
    return retrying.retry_run(session, run_id, wait=wait, timeout_s=timeout_s, as_json=as_json)


@click.command(cls=Verb, short_help="End a run, or all runs of an event.")
@click.argument("run_id", type=RunReference(), required=False, metavar="RUN")
@click.option(
    "--event",
    "event_id",
    type=EventReference(),
    metavar="EVENT",
    help="End every unfinished run of its tree, all that it causes.",
)
@filter_options(of="runs of", searched="an id, the event's type, flow, step, error or message")
@_dry_run_option
@only_option
@as_json_option
@click.pass_obj
def cancel(
    session: Session,
    *,
    run_id: str | None,
    event_id: str | None,
    filters: Filters,
    dry_run: bool,
    is_alone: bool,
    as_json: bool,
) -> int:
    """End a run and every process it started, or all runs of an event and of what its runs caused, or all unfinished
    runs that filters like those of `flowd runs` find.

    Returns when they have ended: SIGTERM first, SIGKILL after the step's grace.

    \b
    Examples:
      flowd cancel run_16439a6acab8
      flowd cancel --event release-42
      flowd cancel --flow release --status queued --dry-run
    """
    bulk.refuse_both(filters, run_id, event_id)
    if filters != Filters():
        if filters.status not in (None, *_UNFINISHED):
            raise CommandError(f"--status {filters.status}: what can be canceled is {' or '.join(_UNFINISHED)}.")
        # First what has not started, so that nothing takes the places of what is ended.
        statuses = _UNFINISHED if filters.status is None else (filters.status,)
        return bulk.act(
            session,
            ((run.id, bulk.label_of(run)) for run in bulk.runs(session, filters, statuses)),
            requests.cancel_run,
            filters=filters,
            noun="run",
            done="canceled",
            dry_run=dry_run,
            as_json=as_json,
        )
    _refuse_dry_run(dry_run)
    if (run_id is None) == (event_id is None):
        raise CommandError("Which run? Give either a run, or --event EVENT, or filters like --flow and --since.")
    if run_id is not None:
        response = session.ask(requests.cancel_run(_run_to_cancel(session, run_id)))
        views = [read_run(response)]
    else:
        response = session.ask(requests.cancel_event(event_of(session, event_id or ""), tree=not is_alone))
        views = list(read_runs(response))
    if as_json:
        printing.print_json(response)
    elif views:
        draw_runs(views)
    else:
        printing.note("Nothing was left to end.")
    return Exit.GOOD


def _run_to_cancel(session: Session, text: str) -> str:
    """The run that is meant: all runs of an event are ended where that is said, and by no mistake of one's fingers."""
    try:
        return run_of(session, text)
    except NamesEventError as error:
        whole = session.typed("cancel", event=text)
        raise CommandError(f"{text} is an event: `{whole}` ends all its runs.", Exit.NOT_FOUND) from error
