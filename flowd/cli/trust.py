"""``flowd trust``: a person's word for a workspace that another user can write to."""

from pathlib import Path

import click

from flowd.cli import printing
from flowd.cli.exits import CommandError, Exit
from flowd.cli.session import Session
from flowd.cli.verb import Verb
from flowd.domain.errors import StateError


@click.command(cls=Verb, short_help="Vouch for a workspace that others can write to.")
@click.argument("path", required=False, type=click.Path(file_okay=False, exists=True), metavar="[PATH]")
@click.option("--list", "is_listing", is_flag=True, help="Print the workspaces that are trusted.")
@click.option("--remove", "is_removing", is_flag=True, help="Trust the workspace no longer.")
@click.pass_obj
def trust(session: Session, path: str | None, *, is_listing: bool, is_removing: bool) -> None:
    """Say that a workspace may decide what runs as you, although it or a folder above it belongs to somebody else, or
    others can write there. flowd refuses such a workspace otherwise.

    Whoever can write to it can then run programs as you. The list is kept in ~/.config/flowd/trusted. Without a person
    to ask, in a container say, set FLOWD_TRUST=/path (colons between several; /path/* for all below it, * for all).

    \b
    Examples:
      flowd trust /srv/shared/automation
      flowd trust --list
      flowd trust --remove /srv/shared/automation
    """
    from flowd.state import ownership  # noqa: PLC0415 - for this verb alone
    from flowd.state import trust as trusted  # noqa: PLC0415

    place = (session.place if path is None else Path(path)).resolve()
    try:
        if is_listing:
            for line in trusted.listed():
                printing.line(line)
        elif is_removing:
            if not trusted.remove(place):
                raise CommandError(f"{place} is not on the list of trusted workspaces.", Exit.NOT_FOUND)
            printing.line(f"{place} is trusted no longer")
        else:
            found = ownership.workspace_problem(place)
            was_new = trusted.add(place)
            printing.line(f"{place} is trusted" + ("" if was_new else " already"))
            printing.line(f"  although {found}" if found else "  and would be without this: it is yours alone")
    except StateError as error:
        raise CommandError(error.message, Exit.REFUSED) from error
