"""``flowd prune``: deletes old events with their runs and output."""

import math

import click

from flowd.cli import printing
from flowd.cli.exits import CommandError
from flowd.cli.printing import size
from flowd.cli.session import Session
from flowd.cli.verb import Duration, Verb, as_json_option
from flowd_client import requests, wire

_MIN_S = 60


@click.command(cls=Verb, short_help="Forget old events with their runs and output.")
@click.option(
    "--older-than",
    "older_than_s",
    type=Duration(),
    metavar="T",
    required=True,
    help="Events whose runs ended this long ago: 90d, 12h; at least a minute.",
)
@click.option("--dry-run", is_flag=True, help="Say how much would be deleted, and change nothing.")
@as_json_option
@click.pass_obj
def prune(session: Session, older_than_s: float, dry_run: bool, as_json: bool) -> None:
    """Forget old events, with their runs, attempts and output. flowd forgets nothing by itself.

    Events with a run that waits, runs, or ended later are kept, and so is the newest event. The id of an event that is
    forgotten is a new one: keep events for as long as their senders may send them again. Room in the database is used
    again, its file does not shrink; output of more than 64 KiB is in files of its own, which go.

    \b
    Examples:
      flowd prune --older-than 90d --dry-run
      0 4 * * *  flowd prune -w /srv/automation --older-than 90d      (a line of a crontab)
    """
    if older_than_s < _MIN_S:
        raise CommandError("--older-than is at least a minute: 60s, 12h, 90d.")
    params = {"olderThanMs": round(older_than_s * 1000), "dryRun": dry_run}
    response = session.ask(requests.call(wire.PRUNE, params)._replace(wait_s=math.inf))
    if as_json:
        printing.print_json(response)
        return
    done = "would forget" if dry_run else "forgot"
    much = f"{_count(response['events'], 'event')} and {_count(response['runs'], 'run')}"
    printing.line(f"{done} {much} with {size(response['outputBytes'])} of output, from before {response['before']}")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
