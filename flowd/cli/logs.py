"""``flowd logs``: a run's output, byte for byte, on the streams that it was written to."""

import sys

import click

from flowd.cli import printing
from flowd.cli.session import Session
from flowd.cli.verb import Verb
from flowd_client import requests
from flowd_client.follow import Follower
from flowd_client.requests import Stream


@click.command(cls=Verb, short_help="Print a run's output, or follow it.")
@click.argument("run_id", metavar="RUN")
@click.option("-f", "--follow", is_flag=True, help="Go on until the run has ended.")
@click.option("--stdout", "only", flag_value="stdout", default=None, help="Only what it wrote to stdout.")
@click.option("--stderr", "only", flag_value="stderr", help="Only what it wrote to stderr.")
@click.option("--attempt", type=click.IntRange(min=1), metavar="N", help="Which attempt. Default: the latest.")
@click.pass_obj
def logs(session: Session, run_id: str, follow: bool, only: Stream | None, attempt: int | None) -> None:
    """Print what a run wrote, byte for byte: its stdout on stdout, its stderr on stderr.

    \b
    Examples:
      flowd logs run_16439a6acab8
      flowd logs -f run_16439a6acab8
      flowd logs run_16439a6acab8 --stderr --attempt 1 2>errors.txt
    """
    if follow:
        _follow(session, run_id, only, attempt)
        return
    streams: tuple[Stream, ...] = ("stdout", "stderr") if only is None else (only,)
    is_silent = True
    for stream in streams:
        is_silent = not _print_all(session, run_id, stream, attempt) and is_silent
    if is_silent and sys.stderr.isatty():
        printing.note("It has written nothing.")


def _print_all(session: Session, run_id: str, stream: Stream, attempt: int | None) -> bool:
    offset = 0
    while True:
        part = session.view(
            requests.read_part(run_id, stream=stream, offset=offset, wait_ms=0, attempt=attempt, encoding="base64")
        )
        _write(stream, part.data)
        offset = part.next_offset
        if part.is_end or not part.data:
            return offset > 0


def _follow(session: Session, run_id: str, only: Stream | None, attempt: int | None) -> None:
    follower = Follower(run_id, "base64", attempt=attempt)
    while True:
        if (request := follower.next_part()) is not None:
            part = session.view(request)
            stream = follower.take_part(part)
            if stream is not None and only in (None, stream):
                _write(stream, part.data)
        elif (look := follower.next_look()) is not None:
            follower.take_look(session.view(look))
        else:
            return


def _write(stream: Stream, data: bytes) -> None:
    out = sys.stdout if stream == "stdout" else sys.stderr
    out.flush()
    out.buffer.write(data)
    out.buffer.flush()
