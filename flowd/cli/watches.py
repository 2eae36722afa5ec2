"""``flowd watches``: lists the files that are watched."""

import click

from flowd.cli import printing
from flowd.cli.session import Session
from flowd.cli.verb import Verb, absolute_option, as_json_option
from flowd_client import requests
from flowd_client.views.watch import WatchView, read_watches


@click.command(cls=Verb, short_help="List what is watched, and the newest event of each watch.")
@absolute_option
@as_json_option
@click.pass_obj
def watches(session: Session, *, as_json: bool) -> None:
    """List the watches of all flows in force ([[watches]] in their flow.toml), as they are on the host that answers:
    how many files each has, its newest event, and what keeps it from others.

    \b
    Examples:
      flowd watches
      flowd watches --json | jq -r '.watches[] | select(.problem).problem'
    """
    response = session.ask(requests.watches())
    if as_json:
        printing.print_json(response)
        return
    found = read_watches(response)
    if not found:
        printing.note("No flow watches files. `[[watches]]` in a flow.toml does: docs/time.md says how.")
        return
    printing.table(
        ("WATCH", "STATE", "FILES", "SETTLES", "TYPE", "PATHS", "LAST EVENT"),
        [_row(watch) for watch in found],
        yields=("PATHS", "TYPE", "SETTLES"),
        whole=("STATE",),
    )
    for watch in found:
        if watch.last_event_id:
            printing.line(f"{watch.flow}/{watch.name}: newest event {watch.last_event_id}")
        if watch.problem:
            printing.line(f"warning {watch.flow}/{watch.name}: {watch.problem}")


def state_of(watch: WatchView) -> str:
    """How a watch is, in a word."""
    return "changing" if watch.changing and watch.status in ("watching", "polling") else watch.status


def _row(watch: WatchView) -> tuple[str, ...]:
    paths = ", ".join(watch.paths)
    return (
        f"{watch.flow}/{watch.name}",
        state_of(watch),
        f"{watch.files}",
        settles(watch.settle_ms),
        watch.type,
        paths if watch.gitignore else f"{paths} (ignored files, too)",
        printing.when(watch.last_event_at),
    )


def settles(settle_ms: int) -> str:
    """How long a watch waits for quiet.

    >>> settles(300), settles(1000), settles(90_500)
    ('300 ms', '1 s', '90.5 s')
    """
    return f"{settle_ms} ms" if settle_ms < 1_000 else f"{settle_ms / 1000:g} s"
