"""``flowd logs``: prints one run's output byte for byte, or several runs' output line by line."""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import click

from flowd.cli import following, output, printed_order, printing, tree
from flowd.cli.exits import CommandError, Exit
from flowd.cli.follow.lines import LineMultiplexer
from flowd.cli.references import EventReference, RunReference, event_of, run_of
from flowd.cli.session import Session
from flowd.cli.verb import Verb, only_option
from flowd_client import requests
from flowd_client.client import FlowClient
from flowd_client.errors import InvalidCallError
from flowd_client.views.run import RunView
from flowd_client.wire import STREAMS, Stream


@click.command(cls=Verb, short_help="Print a run's output, or follow it.")
@click.argument("run_ids", type=RunReference(), metavar="[RUN]...", nargs=-1)
@click.option(
    "--event",
    "--event-id",
    "event_id",
    type=EventReference(),
    metavar="EVENT",
    help="All runs of this event, and of all that they cause.",
)
@only_option
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
      flowd logs -f run_16439a6acab8
      flowd logs -f --event release-42
      flowd logs run_16439a6acab8 --stderr --attempt 1 2>errors.txt
    """
    if not run_ids and event_id is None:
        raise CommandError("Which run? Name one or several, or --event EVENT. `flowd runs` lists them.")
    run_ids = tuple(run_of(session, text) for text in run_ids)
    event_id = None if event_id is None else event_of(session, event_id)
    if event_id is None and len(run_ids) == 1:
        with _telling_no_such_attempt():
            out = output.StepOutput(is_raw=is_raw)
            _print_one(session, run_ids[0], only, attempt, out, is_following=follow)
            out.end()
        return _told_end(session.view(requests.get_run(run_ids[0]))) if follow and attempt is None else Exit.GOOD
    if attempt is not None:
        raise CommandError("--attempt goes with one run.")
    if follow:
        return following.follow(session, run_ids, event_id, only, is_raw=is_raw, is_alone=is_alone)
    _print_several(session, run_ids, event_id, only, is_raw=is_raw, is_alone=is_alone)
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
) -> None:
    # What has ended is read in its order; of what is printed meanwhile, that stream comes first that is seen first.
    if is_following and not (attempt is None and session.view(requests.wait_run(run_id, timeout_ms=0)).is_final):
        _follow(session, run_id, only, attempt, out)
        return
    is_silent = True
    for stream, data in _pieces(session, run_id, only, attempt):
        out.write(stream, data)
        is_silent = False
    if is_silent and sys.stderr.isatty():
        printing.note("The run has written nothing.")


def _print_several(
    session: Session,
    run_ids: tuple[str, ...],
    event_id: str | None,
    only: Stream | None,
    *,
    is_raw: bool,
    is_alone: bool,
) -> None:
    runs = [session.view(requests.get_run(run_id)) for run_id in run_ids]
    if event_id is not None:
        events = tree.read(session, event_id)
        runs += [run for event in (events[:1] if is_alone else events) for run in event.runs]
    lines = LineMultiplexer(output.write, clean=output.line_cleaner(is_raw=is_raw))
    names = {run.id: printing.clean(f"{run.flow_name}/{run.step_name}") for run in runs}
    counts = Counter(names.values())
    names = {run_id: name if counts[name] == 1 else f"{name} {run_id}" for run_id, name in names.items()}
    for name in names.values():
        lines.prefix(name)
    for run_id, name in names.items():
        for stream, data in _pieces(session, run_id, only, None):
            lines.feed(name, stream, data)
        lines.end(name)


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


def _follow(session: Session, run_id: str, only: Stream | None, attempt: int | None, out: output.StepOutput) -> None:
    from flowd.cli.follow.progress import WithoutProgress  # noqa: PLC0415 - most do not follow
    from flowd.cli.follow.waits import WaitTeller  # noqa: PLC0415

    stdout = WithoutProgress() if printing.is_terminal() and not out.is_raw else None
    # Else stderr has what the step wrote there, and nothing else.
    waits = WaitTeller(lambda line: printing.note(f"flowd: {line}")) if sys.stderr.isatty() else None
    with FlowClient(session.transport) as client:
        on_look = None if waits is None else waits.take
        for stream, data in client.follow_output_bytes(run_id, attempt=attempt, on_look=on_look):
            if only in (None, stream):
                out.write(stream, stdout.feed(data) if stdout is not None and stream == "stdout" else data)
    if stdout is not None:
        out.write("stdout", stdout.end())
