"""``flowd service``: flowd as a service of this machine, or of yours on it."""

import asyncio
import os

import click

from flowd.cli import printing
from flowd.cli.session import Session
from flowd.cli.verb import Verb


@click.group(short_help="Run flowd as a systemd service.")
def service() -> None:
    """Run flowd for a workspace as a systemd service, of your own user manager or of the machine."""


@service.command("end-steps", cls=Verb, hidden=True)
@click.option("--always", is_flag=True, help="Also when the unit is not being stopped.")
@click.pass_obj
def end_steps(session: Session, always: bool) -> None:
    """End what a daemon that is gone has left running. The units call this after every end of the daemon.

    A restart, a crash, and a watchdog's kill leave steps to the next daemon. This ends them only where systemd is
    about to stop the unit for good: the daemon does so itself on SIGTERM, unless it hangs or has crashed.
    """
    from flowd import settings as settings_module  # noqa: PLC0415 - heavy
    from flowd import winding_up  # noqa: PLC0415

    settings = settings_module.load(workspace=session.chosen_workspace)
    count = asyncio.run(winding_up.end_steps(settings, environ=os.environ, is_asked=always))
    if count:
        printing.line(f"ended {count} {'step' if count == 1 else 'steps'} that flowd had left running")
