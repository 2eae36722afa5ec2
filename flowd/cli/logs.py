"""``flowd logs``: prints one run's output byte for byte, or several runs' output line by line."""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import click

from flowd.cli import following, log_choice, output, printed_order, printing, tree, typos
from flowd.cli.exits import CommandError, Exit
from flowd.cli.filters import Filters, When
from flowd.cli.follow.lines import LineMultiplexer
from flowd.cli.names import FlowName
from flowd.cli.references import EventReference, RunOrEventReference, event_of, run_of, run_or_event_of
from flowd.cli.session import Session
from flowd.cli.verb import Verb, only_option
from flowd_client import requests
from flowd_client.client import FlowClient
from flowd_client.errors import InvalidCallError
from flowd_client.views.run import RunView
from flowd_client.wire import STREAMS, Stream


@click.command(cls=Verb, short_help="Print a run's output, or follow it.")
@click.argument("run_ids", type=RunOrEventReference(), metavar="[RUN]...|[EVENT]", nargs=-1)
@click.option(
    "--event",
    "--event-id",
    "event_id",
    type=EventReference(),
    metavar="EVENT",
    help="All runs of this event, and of all that they cause.",
)
@only_option
@click.option("--last", "is_last", is_flag=True, help="The runs of the newest dispatch or replay, of --flow or of all.")
@click.option("--flow", type=FlowName(), metavar="NAME", help="The newest runs of this flow; with -f, all that come.")
@click.option("--since", type=When(), metavar="WHEN", help="All runs of events since then: 10m, 2h, 2026-01-31T12:00.")
@click.option("-n", "--lines", type=click.IntRange(min=0), metavar="N", help="Only the last N lines of each run.")
@click.option("-f", "--follow", is_flag=True, help="Go on until the runs have ended.")
@click.option("--stdout", "only", flag_value="stdout", default=None, help="Only what it wrote to stdout.")
@click.option("--stderr", "only", flag_value="stderr", help="Only what it wrote to stderr.")
@click.option("--attempt", type=click.IntRange(min=1), metavar="N", help="Which attempt. Default: the latest.")
@click.option("--raw", "is_raw", is_flag=True, help="On a terminal, too: byte for byte, control sequences and all.")
@click.pass_obj
def logs(
    session: Session,
    *,
    run_ids: tuple[str, ...],
    event_id: str | None,
    is_last: bool,
    flow: str | None,
    since: str | None,
    lines: int | None,
    follow: bool,
    only: Stream | None,
    attempt: int | None,
    is_raw: bool,
    is_alone: bool,
) -> int:
    """Print what a run wrote, byte for byte: its stdout on stdout, its stderr on stderr, in the order in which it
    was printed. A terminal gets it without control sequences and with control characters as escapes, for it would obey
    them; -f leaves the lines out there by which a step says how far it is (FLOW_PROGRESS), but with --raw, and says
    there what a run waits for.

    Of several runs it prints whole lines, each with the name of its step. -f also follows runs of the event that start
    later, and those of the events that they cause, and goes on over a restart of the daemon. Where nothing of the event
    goes on without a person, it ends with exit code 1 and the question. -f exits with 1 if a run ended badly; of one
    run it says on a terminal how.

    \b
    Examples:
      flowd logs run_16439a6acab8
      flowd logs -f -n 20 run_16439a6acab8
      flowd logs --last
      flowd logs --flow release --since 2h
      flowd logs -f --flow release
      flowd logs -f --event release-42
      flowd logs run_16439a6acab8 --stderr --attempt 1 2>errors.txt
    """
    is_chosen = is_last or flow is not None or since is not None
    if is_chosen and (run_ids or event_id is not None):
        raise CommandError("--last, --flow and --since choose runs: name none beside them.")
    if is_chosen:
        filters = Filters(flow=flow, since=since)
        if follow and not is_last:
            return _follow_flow(session, filters, only, is_raw=is_raw, lines=lines)
        chosen = log_choice.newest_round(session, filters) if is_last else log_choice.recent(session, filters)
        run_ids = tuple(run.id for run in chosen)
    elif not run_ids and event_id is None:
        raise CommandError("Which run? Name one or several, or --last, --event EVENT, --flow NAME or --since TIME.")
    else:
        if len(run_ids) == 1 and event_id is None:
            meant, event_id = run_or_event_of(session, run_ids[0])
            run_ids = () if meant is None else (meant,)
        run_ids = tuple(run_of(session, text) for text in run_ids)
        event_id = None if event_id is None else event_of(session, event_id)
    if event_id is None and len(run_ids) == 1:
        with _telling_no_such_attempt():
            out = output.StepOutput(is_raw=is_raw)
            _print_one(session, run_ids[0], only, attempt, out, is_following=follow, lines=lines)
            out.end()
        return _told_end(session.view(requests.get_run(run_ids[0]))) if follow and attempt is None else Exit.GOOD
    if attempt is not None:
        raise CommandError("--attempt goes with one run.")
    if follow:
        return following.follow(session, run_ids, event_id, only, is_raw=is_raw, is_alone=is_alone, lines=lines)
    _print_several(session, run_ids, event_id, only, is_raw=is_raw, is_alone=is_alone, lines=lines)
    return Exit.GOOD


def _follow_flow(session: Session, filters: Filters, only: Stream | None, *, is_raw: bool, lines: int | None) -> Exit:
    if filters.flow is None or filters.since is not None:
        raise CommandError("-f follows named runs, --last, --event EVENT or --flow NAME; --since is of what was.")
    typos.tell(session, filters)
    following.follow_flow(session, filters.flow, only, is_raw=is_raw, lines=lines)
    return Exit.GOOD


def _told_end(run: RunView) -> Exit:
    """How a run that was followed has ended, in words on a terminal, and as an exit code."""
    if sys.stderr.isatty():  # else it has what the step wrote there, and nothing else
        following.tell_ends([run])
    return Exit.RUN_FAILED if following.is_bad(run) else Exit.GOOD


@contextmanager
def _telling_no_such_attempt() -> Iterator[None]:
    try:
        yield
    except InvalidCallError as error:
        if error.data.get("param") == "attempt":  # the command line is right; the run has no such attempt
            raise CommandError(error.message, Exit.NOT_FOUND) from error
        raise


def _print_one(
    session: Session,
    run_id: str,
    only: Stream | None,
    attempt: int | None,
    out: output.StepOutput,
    *,
    is_following: bool,
    lines: int | None,
) -> None:
    after = None
    is_silent = True
    if lines is not None:
        # What is followed is known by its number: another attempt may begin meanwhile.
        number = session.view(requests.get_run(run_id)).attempt_count if attempt is None and is_following else attempt
        tail = printed_order.tail(session, run_id, number or None, lines, only)
        pieces = iter(tail.pieces)
        after = (number, *tail.ends) if number else None
    else:
        pieces = iter(()) if is_following else _pieces(session, run_id, only, attempt)
    for stream, data in pieces:
        out.write(stream, data)
        is_silent = False
    if is_following:
        _follow(session, run_id, only, attempt, out, after=after)
    elif is_silent and lines != 0 and sys.stderr.isatty():
        printing.note("The run has written nothing.")


def _print_several(
    session: Session,
    run_ids: tuple[str, ...],
    event_id: str | None,
    only: Stream | None,
    *,
    is_raw: bool,
    is_alone: bool,
    lines: int | None,
) -> None:
    runs = [session.view(requests.get_run(run_id)) for run_id in run_ids]
    if event_id is not None:
        events = tree.read(session, event_id)
        runs += [run for event in (events[:1] if is_alone else events) for run in event.runs]
    woven = LineMultiplexer(output.write, clean=output.line_cleaner(is_raw=is_raw))
    names = {run.id: printing.clean(f"{run.flow_name}/{run.step_name}") for run in runs}
    counts = Counter(names.values())
    names = {run_id: name if counts[name] == 1 else f"{name} {run_id}" for run_id, name in names.items()}
    for name in names.values():
        woven.prefix(name)
    for run_id, name in names.items():
        pieces = _pieces(session, run_id, only, None) if lines is None else _tail(session, run_id, only, lines)
        for stream, data in pieces:
            woven.feed(name, stream, data)
        woven.end(name)


def _tail(session: Session, run_id: str, only: Stream | None, lines: int) -> Iterator[tuple[Stream, bytes]]:
    yield from printed_order.tail(session, run_id, None, lines, only).pieces


def _pieces(session: Session, run_id: str, only: Stream | None, attempt: int | None) -> Iterator[tuple[Stream, bytes]]:
    """What a run has printed on one stream, or on both in the order in which it was printed."""
    if only is not None:
        yield from ((only, data) for data in _parts(session, run_id, only, attempt))
        return
    try:
        yield from printed_order.read(session, run_id, attempt)
    except InvalidCallError as error:
        if "turns" not in error.message:
            raise
        # The daemon is of before an update, and tells no order.
        yield from ((stream, data) for stream in STREAMS for data in _parts(session, run_id, stream, attempt))


def _parts(session: Session, run_id: str, stream: Stream, attempt: int | None) -> Iterator[bytes]:
    offset = 0
    while True:
        part = session.view(
            requests.read_output(run_id, stream=stream, offset=offset, wait_ms=0, attempt=attempt, encoding="base64")
        )
        if part.data:
            yield part.data
        offset = part.next_offset
        if part.is_end or not part.data:
            printed_order.tell_lost(part)
            return


def _follow(
    session: Session,
    run_id: str,
    only: Stream | None,
    attempt: int | None,
    out: output.StepOutput,
    *,
    after: tuple[int, int, int] | None,
) -> None:
    from flowd.cli.follow.progress import WithoutProgress  # noqa: PLC0415 - most do not follow
    from flowd.cli.follow.waits import WaitTeller  # noqa: PLC0415

    stdout = WithoutProgress() if printing.is_terminal() and not out.is_raw else None
    # Else stderr has what the step wrote there, and nothing else.
    waits = WaitTeller(lambda line: printing.note(f"flowd: {line}")) if sys.stderr.isatty() else None
    with FlowClient(session.transport) as client:
        on_look = None if waits is None else waits.take
        for stream, data in client.follow_output_bytes(run_id, attempt=attempt, after=after, on_look=on_look):
            if only in (None, stream):
                out.write(stream, stdout.feed(data) if stdout is not None and stream == "stdout" else data)
    if stdout is not None:
        out.write("stdout", stdout.end())
