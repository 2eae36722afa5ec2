"""``flowd list``: what the reference runner prints for ``list``."""

import click

from flowd.cli import disk, printing
from flowd.cli.exits import Exit, tell
from flowd.cli.session import Session
from flowd.cli.verb import Verb


@click.command("list", cls=Verb, short_help="List flow packages on disk. Needs no daemon.")
@click.pass_obj
def list_(session: Session) -> Exit:
    """List the flow packages on disk as the TypeScript system does: a line each, the flow's name, a tab, its folder.
    `flowd flows` shows more, of those that the daemon has in force.

    Broken ones are told on stderr; then it exits with 1, once the others are listed.

    \b
    Examples:
      flowd list
      flowd list | cut -f1
    """
    snapshot = disk.scan(session.workspace)
    for flow in snapshot.flows:
        printing.line(f"{flow.name}\t{flow.root}")
    for package in snapshot.broken:
        tell(f"{package.name} is broken: {package.sentence()}")
    return Exit.RUN_FAILED if snapshot.broken else Exit.GOOD
