"""``flowd prune``: deletes old events with their runs and output."""

import math

import click

from flowd.cli import printing
from flowd.cli.exits import CommandError
from flowd.cli.printing import size
from flowd.cli.session import Session
from flowd.cli.verb import Duration, Verb, as_json_option
from flowd_client import requests, wire
from flowd_client.errors import InvalidCallError

_MIN_S = 60
_MUCH_BYTES = 16 << 20
"""Less is not worth a word: it is used again."""


@click.command(cls=Verb, short_help="Forget old events with their runs and output.")
@click.option(
    "--older-than",
    "older_than_s",
    type=Duration(),
    metavar="T",
    help="Events whose runs ended this long ago: 90d, 12h; at least a minute.",
)
@click.option("--dry-run", is_flag=True, help="Say how much would be deleted, and change nothing.")
@click.option("--compact", is_flag=True, help="Write the database anew, without the room that forgotten events left.")
@as_json_option
@click.pass_obj
def prune(session: Session, *, older_than_s: float | None, dry_run: bool, compact: bool, as_json: bool) -> None:
    """Forget old events, with their runs, attempts and output: those that ended so long ago, or without --older-than
    what the rules of [retention] in the settings let go, which a daemon also looks at every hour. Without such rules
    flowd forgets nothing by itself.

    Events with a run that waits, runs, or ended later are kept, and so is the newest event. The id of an event that is
    forgotten is a new one: keep events for as long as their senders may send them again. Their room goes back to the
    disk: output of more than 64 KiB is in files of its own, and the database shrinks. One that an older flowd made does
    so only with --compact, needed once; it writes the whole file anew, which takes as much room again, and events wait
    meanwhile.

    \b
    Examples:
      flowd prune --dry-run
      flowd prune --older-than 90d --dry-run
      flowd prune --older-than 90d --compact
    """
    if older_than_s is None and dry_run and compact:
        raise click.UsageError("Missing option '--older-than': how old is what may be forgotten? 90d, 12h.")
    if older_than_s is not None and older_than_s < _MIN_S:
        raise CommandError("--older-than is at least a minute: 60s, 12h, 90d.")
    params: dict[str, int | bool] = {"dryRun": dry_run}
    if older_than_s is not None:
        params["olderThanMs"] = round(older_than_s * 1000)
    if compact:  # which an older daemon does not know
        params["compact"] = True
    try:
        response = session.ask(requests.call(wire.PRUNE, params)._replace(wait_s=math.inf))
    except InvalidCallError as error:
        if older_than_s is not None or compact or "olderThanMs" not in error.message:
            raise
        raise click.UsageError(
            "Missing option '--older-than': how old is what may be forgotten? 90d, 12h. Or say it once, as [retention] "
            "in the settings."
        ) from None
    if as_json:
        printing.print_json(response)
        return
    if older_than_s is not None or not compact:
        done = "would forget" if dry_run else "forgot"
        much = f"{printing.count(response['events'], 'event')} and {printing.count(response['runs'], 'run')}"
        which = f"from before {response['before']}" if "before" in response else "by the rules of [retention]"
        printing.line(f"{done} {much} with {size(response['outputBytes'])} of output, {which}")
    if not dry_run:
        _tell_room(response.get("freedBytes", 0), response.get("freeBytes", 0))


def _tell_room(freed: int, free: int) -> None:
    if freed:
        printing.line(f"the database is {size(freed)} smaller")
    if free >= _MUCH_BYTES:
        printing.line(f"{size(free)} are free inside it, for what is stored next; --compact gives them back")
