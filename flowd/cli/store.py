"""``flowd store``: makes, upgrades and checks the schema of a store that hosts share."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from flowd.cli import printing
from flowd.cli.doctor import draw
from flowd.cli.exits import CommandError, Exit
from flowd.cli.session import Session
from flowd.cli.verb import Verb, shared_options
from flowd.domain.errors import FlowdError

if TYPE_CHECKING:
    from flowd.store.postgres.address import Address

_host_role = click.option(
    "--host-role", metavar="ROLE", help="Grant a role what daemons need, and no more: to read and write rows."
)


class StoreGroup(click.Group):
    """A group that takes the shared options before its verbs, too."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.params.extend(shared_options())


@click.group(cls=StoreGroup, short_help="Make, upgrade and check the database that hosts share.")
def store() -> None:
    """Make, upgrade and check the schema of the PostgreSQL database that the setting store (or FLOWD_STORE) names.

    A daemon never changes the schema: these commands do, as the schema's owner. Upgrade the schema first, then one host
    after the other.

    \b
    Examples:
      FLOWD_STORE=postgresql://owner@db/automation flowd store init --host-role flowd_host
      FLOWD_STORE=postgresql://owner@db/automation flowd store upgrade
      flowd store check
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
