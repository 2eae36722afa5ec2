"""``flowd store``: makes, upgrades and checks the schema of a store that hosts share, and fills it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from flowd.cli import copying, printing
from flowd.cli.doctor import draw
from flowd.cli.exits import CommandError, Exit
from flowd.cli.session import Session
from flowd.cli.verb import Verb, Verbs, as_json_option
from flowd.domain.errors import FlowdError

if TYPE_CHECKING:
    from flowd.store.postgres.address import Address

_host_role = click.option(
    "--host-role", metavar="ROLE", help="Grant a role what daemons need, and no more: to read and write rows."
)


@click.group(cls=Verbs, short_help="Make, upgrade, check and fill the database that hosts share.")
def store() -> None:
    """Make, upgrade and check the schema of the PostgreSQL database that the setting store (or FLOWD_STORE) names.

    A daemon never changes the schema: these commands do, as the schema's owner. Upgrade the schema first, then one host
    after the other.

    \b
    Examples:
      FLOWD_STORE=postgresql://owner@db/automation flowd store init --host-role flowd_host
      FLOWD_STORE=postgresql://owner@db/automation flowd store upgrade
      flowd store check
      flowd store copy
    """


@store.command(cls=Verb)
@_host_role
@click.pass_obj
def init(session: Session, host_role: str | None) -> None:
    """Make the schema. What is there already is brought up to date, and loses nothing.

    \b
    Examples:
      flowd store init
      flowd store init --host-role flowd_host
    """
    _bring_up_to_date(session, host_role, is_new=True)


@store.command(cls=Verb)
@_host_role
@click.pass_obj
def upgrade(session: Session, host_role: str | None) -> None:
    """Bring the schema to what this flowd needs, all or nothing. Hosts of the version before go on working.

    \b
    Examples:
      flowd store upgrade
    """
    _bring_up_to_date(session, host_role, is_new=False)


@store.command(cls=Verb)
@click.pass_obj
def check(session: Session) -> int:
    """Check that the database is reached, and does what flowd relies on. Changes nothing; exits with 1 if it does not.

    \b
    Examples:
      flowd store check
    """
    from flowd.doctor import shared_database  # noqa: PLC0415 - heavy
    from flowd.doctor.finding import Level  # noqa: PLC0415
    from flowd.doctor.scene import Scene  # noqa: PLC0415
    from flowd.settings import sources  # noqa: PLC0415

    with _told():
        scene = Scene(sources.load(workspace=session.workspace), os.environ)
        levels = []
        for finding in shared_database.check(scene):
            draw(finding)
            levels.append(finding.level)
    return Exit.RUN_FAILED if Level.FAIL in levels else Exit.GOOD


@store.command(cls=Verb)
@click.option("--back", "is_back", is_flag=True, help="From the shared store into the state folder instead.")
@click.option("--replace", is_flag=True, help="With --back: move aside what the state folder has.")
@click.option("--dry-run", is_flag=True, help="Check and count everything, and write nothing.")
@as_json_option
@click.pass_obj
def copy(session: Session, *, is_back: bool, replace: bool, dry_run: bool, as_json: bool) -> None:
    """Copy the whole history of this workspace, from its state folder into the store that its settings name: events,
    runs, attempts with their output, what waits, keys, pauses, cursors. What is queued goes on there.

    The daemon must be stopped, no step may run, and the target has to be empty; it gets everything or nothing. What is
    copied stays where it was: start a daemon on one of both only, or what waits runs twice.

    \b
    Examples:
      FLOWD_STORE=postgresql://db/automation flowd store copy --dry-run
      FLOWD_STORE=postgresql://db/automation flowd store copy
      FLOWD_STORE=postgresql://db/automation flowd store copy --back --replace
    """
    if replace and not is_back:
        raise click.UsageError("--replace is for --back: a shared store is never overwritten.")
    report = copying.copy_store(session, is_back=is_back, replaces=replace, is_dry=dry_run)
    if as_json:
        printing.print_json(copying.copied_view(report, is_dry=dry_run))
    else:
        copying.tell_copied(report, is_dry=dry_run)


def _bring_up_to_date(session: Session, host_role: str | None, *, is_new: bool) -> None:
    with _told():
        address = _address(session)
        from flowd.store.postgres import owning  # noqa: PLC0415 - an extra, which few have

        before, now = owning.bring_up_to_date(address, is_new=is_new, host_role=host_role)
    printing.line(_sentence(address.shown, before, now))
    if host_role is not None:
        printing.line(f"{host_role} may read and write its rows")


def _sentence(where: str, before: int, now: int) -> str:
    if before == now:
        return f"{where}: schema {now} is there already"
    return f"{where}: schema {now}" + (" is made" if not before else f", from {before}")


def _address(session: Session) -> "Address":
    from flowd.settings import sources  # noqa: PLC0415 - for these verbs alone
    from flowd.wiring.store import shared_address  # noqa: PLC0415

    return shared_address(sources.load(workspace=session.workspace))


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except FlowdError as error:
        raise CommandError(error.message, Exit.REFUSED) from error
