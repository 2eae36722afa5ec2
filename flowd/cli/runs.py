"""``flowd runs`` and ``flowd run``: list runs, and show how one ended."""

import json
from collections.abc import Sequence
from datetime import datetime

import click

from flowd.cli import printing, run_words
from flowd.cli.exits import CommandError
from flowd.cli.filters import Filters, filter_options, whole_list
from flowd.cli.references import EventReference, RunReference, event_of, run_of
from flowd.cli.session import Session
from flowd.cli.verb import Text, Verb, as_json_option, list_options
from flowd_client import requests
from flowd_client.views.run import AttemptView, RunView, read_run, read_runs

_OUTPUT_LINES = 20
"""Of each stream at the end of `flowd run`."""


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

        typos.tell_empty(session, "No runs.", filters, as_json=as_json)
    if as_json:
        return
    page = read_runs(response)
    if page:
        draw_runs(page.items)
    if page.next_cursor:
        more = session.typed("runs", event=event_id, host=host, **filters.typed(), limit=limit, cursor=page.next_cursor)
        printing.note(f"More: {more}")
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


@click.command(cls=Verb, short_help="Show a run: how it ended, its attempts, its output.")
@click.argument("run_id", type=RunReference(), metavar="RUN")
@click.option("--definition", is_flag=True, help="Show what its last attempt was made with, too.")
@as_json_option
@click.pass_obj
def run(session: Session, run_id: str, definition: bool, as_json: bool) -> None:
    """Show a run: how it ended and why, its attempts, its result, and the end of its output.

    \b
    Examples:
      flowd run run_16439a6acab8
      flowd run run_16439a6acab8 --definition
      flowd run run_16439a6acab8 --json | jq .run.result
    """
    response = session.ask(requests.get_run(run_of(session, run_id), definition=definition))
    if as_json:
        printing.print_json(response)
    else:
        view = read_run(response)
        _draw_run(view)
        if view.definition is not None:
            printing.line()
            printing.line("definition")
            printing.fields([(f"  {name}", _short(value)) for name, value in view.definition.items()])
        if view.output:
            printing.line()
            printing.note(f"All of it: {session.typed('logs', view.id)}")


def draw_runs(items: Sequence[RunView]) -> None:
    """Runs as a table, with the first sentence of each one's error if there is any."""
    whys = [why(item) for item in items]
    rows: list[tuple[str, ...]] = [
        (
            item.id,
            item.effective_status,
            f"{item.flow_name}/{item.step_name}",
            item.event_id or "-",
            printing.when(started_at(item)),
            printing.took(_duration_ms(item)),
        )
        for item in items
    ]
    headers: tuple[str, ...] = ("RUN", "STATUS", "STEP", "EVENT", "STARTED", "TOOK")
    if any(whys):
        headers, rows = (*headers, "WHY"), [(*row, why) for row, why in zip(rows, whys, strict=True)]
    printing.table(headers, rows, whole=("RUN", "STATUS"))


def started_at(item: RunView) -> datetime | None:
    """When its last attempt began, whose end is the run's; None where it was never started."""
    return item.attempts[-1].started_at if item.attempts else item.started_at


def _duration_ms(item: RunView) -> int | None:
    """How long a run took. None for one that was interrupted, unless that was measured: a daemon from before durations
    were measured counts the time until the next daemon found out (after a power cut, say)."""
    is_measured = any(attempt.duration_ms is not None for attempt in item.attempts)
    return None if item.reason == "interrupted" and not is_measured else item.duration_ms


def why(item: RunView) -> str:
    """What it asks or waits for, why it was not run, what a person said of it, or how it ended and what it says of
    that, without what the row says already."""
    if item.needs_attention and item.message:
        return item.message
    if item.process_status == "queued":
        return run_words.waiting(item) or ""
    if item.process_status == "running":
        return run_words.progress(item.progress)
    if item.reason in ("needs_not_met", "superseded", "key_busy") and item.message:
        return item.message
    if item.resolution is not None:
        return run_words.word(item.resolution)
    error = (_sentence(item.error) or "").removeprefix(f"Step {item.flow_name}/{item.step_name} ")
    # What the step says of its end is more than how its process ended.
    said = None if item.effective_status in ("completed", "changed") else item.message
    return ": ".join(part for part in (error, said) if part)


def _draw_run(item: RunView) -> None:
    printing.fields(
        (
            ("run", item.id),
            ("status", item.effective_status),
            ("process", item.process_status),
            ("reason", item.reason),
            ("error", _sentence(item.error)),
            ("asks", (item.message or "It asks for a person; see its result.") if item.needs_attention else None),
            ("resolved", run_words.resolution(item.resolution)),
            ("answer", run_words.answer(item.answer)),
            ("waits", run_words.waiting(item)),
            ("progress", run_words.progress(item.progress) or None),
            ("step", f"{item.flow_name}/{item.step_name}"),
            ("event", item.event_id),
            ("labels", ", ".join(f"{name}={value}" for name, value in item.labels.items()) or None),
            ("replay of", item.replay_of),
            ("runner", item.runner),
            ("package", item.package_hash),
            ("created", printing.when(item.created_at)),
            ("took", None if _duration_ms(item) is None else printing.took(_duration_ms(item))),
            ("result", None if item.result_payload is None else _json(item.result_payload)),
            ("said", None if item.reported_result is None else f"{_json(item.reported_result)} (does not count)"),
        )
    )
    for attempt in item.attempts:
        printing.line()
        # The last attempt's output follows below, whole or its end; what earlier ones printed is in their errors.
        _draw_attempt(attempt, is_last=attempt is item.attempts[-1])
    _draw_output(item)


def _draw_attempt(attempt: AttemptView, *, is_last: bool) -> None:
    printing.fields(
        (
            ("attempt", str(attempt.attempt_number)),
            ("host", attempt.host),
            ("status", attempt.status),
            ("reason", attempt.reason),
            ("exit", _exit(attempt)),
            ("error", None if is_last else attempt.error),
            ("said", None if attempt.result is None else _json(attempt.result)),
            ("resolved", run_words.resolution(attempt.resolution)),
            ("was told", run_words.answer(attempt.answer)),
            ("started", printing.when(attempt.started_at)),
            ("took", None if attempt.duration_ms is None else printing.took(attempt.duration_ms)),
            ("command", _command(attempt.command)),
            ("cwd", attempt.cwd),
            ("pid", None if attempt.pid is None else str(attempt.pid)),
            (
                "memory",
                None if attempt.max_rss_bytes is None else f"{attempt.max_rss_bytes / 1_048_576:.1f} MiB at most",
            ),
            ("cpu", None if attempt.cpu_ms is None else printing.took(attempt.cpu_ms)),
            ("left behind", "\n".join(attempt.leftovers)),
            ("survivors", "\n".join(attempt.survivors)),
        )
    )


def _command(words: Sequence[str]) -> str | None:
    from shlex import join  # noqa: PLC0415 - a list shows no commands

    return join(words) if words else None


def _exit(attempt: AttemptView) -> str | None:
    if attempt.signal is not None:
        return f"{_signal_name(attempt.signal)} ({attempt.signal})"
    return None if attempt.exit_code is None else str(attempt.exit_code)


def _signal_name(number: int) -> str:
    from signal import Signals  # noqa: PLC0415 - few runs end so

    try:
        return Signals(number).name
    except ValueError:
        return "signal"


def _sentence(error: str | None) -> str | None:
    """What stands before the excerpt of the output."""
    return None if error is None else error.split("\n", 1)[0]


def _draw_output(item: RunView) -> None:
    for entry in item.output:
        lines = entry.text.splitlines()
        printing.line()
        cut = f", the last {_OUTPUT_LINES} of {len(lines)} lines" if len(lines) > _OUTPUT_LINES else ""
        printing.line(f"{entry.kind}{cut}:")
        for text in lines[-_OUTPUT_LINES:]:
            printing.line(f"  {text}")
    if item.is_final and item.attempts and not item.output:
        printing.line()
        printing.line("It printed nothing on stdout or stderr.")


def _short(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)
