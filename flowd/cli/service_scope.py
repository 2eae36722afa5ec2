"""Decides whether a verb of ``flowd service`` is about the system's service or the user's, and words its refusals."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flowd.cli import printing
from flowd.cli.exits import CommandError, Exit
from flowd.cli.session import Session
from flowd.domain.errors import FlowdError

if TYPE_CHECKING:
    from flowd.observe.own_unit import Scope
    from flowd.service.systemctl import ServiceManager

scope_option = click.option(
    "--user/--system",
    "is_user",
    default=None,
    help="Of your own user manager, or of the machine. Default: yours; for root, or if only it has one, the machine's.",
)


@contextmanager
def told() -> Iterator[None]:
    """Turn flowd's refusals into errors of the command."""
    try:
        yield
    except FlowdError as error:
        raise CommandError(error.message, Exit.REFUSED) from error


def manager_of(
    session: Session, is_user: bool | None, *, or_installed: bool = False, or_absent: bool = False
) -> "ServiceManager":
    """The manager that is meant. The workspace may be gone: its service is still to be looked at, and removed.

    Args:
        is_user: As asked for; None chooses.
        or_absent: Where there is none, say so, and give one that stands in for it.
        or_installed: Choose the machine's for a workspace that has a service of the machine, and none of the user's.
    """
    from flowd.service.systemctl import AbsentManager, ServiceManager  # noqa: PLC0415 - heavy
    from flowd_client.discovery import find_service  # noqa: PLC0415 - light, but only here

    is_system = os.geteuid() == 0 if is_user is None else not is_user
    if is_user is None and or_installed and not is_system:
        found = find_service(session.place.resolve())
        is_system = found is not None and found[0] == "system"
    scope: Scope = "system" if is_system else "user"
    try:
        return ServiceManager(scope)
    except FlowdError as error:
        if not or_absent:
            raise CommandError(error.message, Exit.REFUSED) from error
        printing.note(f"flowd: {error.message}\nflowd: This is what an install would do where the newest systemd does.")
        return AbsentManager(scope)


def environment_of(manager: "ServiceManager", workspace: Path) -> Mapping[str, str]:
    """What the service of a workspace is started with, for looking after what it left."""
    from flowd.service import environment, unit_files  # noqa: PLC0415 - for these verbs alone

    environ = dict(os.environ)
    if manager.scope == "system":
        environ["FLOWD_STATE_DIR"] = str(unit_files.system_state(workspace))
    return {**environ, **environment.of(manager, unit_files.names(workspace)[0]).values}
