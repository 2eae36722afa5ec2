"""``flowd service``: runs flowd as a systemd service, of the machine or of a user."""

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flowd.cli import printing
from flowd.cli.exits import CommandError, Exit
from flowd.cli.service_install import install, uninstall
from flowd.cli.service_scope import environment_of, manager_of, scope_option, told
from flowd.cli.session import Session
from flowd.cli.verb import Verb, Verbs, as_json_option

if TYPE_CHECKING:
    from flowd.service.systemctl import ServiceManager

_SHOWN = ("LoadState", "ActiveState", "SubState", "UnitFileState", "MainPID", "StatusText", "Result", "ExecMainStatus",
          "NRestarts", "ActiveEnterTimestamp", "FragmentPath")  # fmt: skip


@click.group(cls=Verbs, short_help="Run flowd as a systemd service.")
def service() -> None:
    """Run flowd for a workspace as a systemd service, of your own user manager or of the machine.

    \b
    Examples:
      flowd service install --dry-run
      flowd service install
      flowd service logs --follow
    """


service.add_command(install)
service.add_command(uninstall)


@service.command(cls=Verb)
@scope_option
@as_json_option
@click.pass_obj
def status(session: Session, is_user: bool | None, as_json: bool) -> int:
    """Show what systemd says of the service of this workspace. Exits with 3 when it does not run.

    \b
    Examples:
      flowd service status
      flowd service status --json
    """
    from flowd.service import installation, systemctl, unit_files  # noqa: PLC0415 - for these verbs alone

    manager = manager_of(session, is_user, or_installed=True)
    workspace = session.place.resolve()
    service_name, socket_name = unit_files.names(workspace)
    about, socket = manager.show(service_name, *_SHOWN), manager.show(socket_name, *_SHOWN)
    is_installed = installation.is_installed(manager.scope, workspace, home=Path.home())
    is_there = is_installed or about.get("LoadState") != "not-found"
    lingers = manager.scope == "system" or installation.lingers(systemctl.user_name())
    facts: dict[str, Any] = {
        "scope": manager.scope,
        "installed": is_installed,
        "service": {"unit": service_name, **about},
        "socket": {"unit": socket_name, **socket},
        "startsAtBoot": about.get("UnitFileState") == "enabled" and lingers,
    }
    if about.get("ActiveState") in ("failed", "inactive") and (left := _left_running(manager, workspace)) is not None:
        facts["stepsLeftRunning"] = left
    if as_json:
        printing.print_json(facts)
    else:
        printing.fields(
            (
                ("service", _state(service_name, about)),
                ("workspace", None if workspace.is_dir() else f"{workspace} is not there, or is not a folder"),
                ("installed", None if is_there else f"no {manager.scope} service; `flowd service install` makes one"),
                ("says", about.get("StatusText") if about.get("MainPID") != "0" else None),
                ("since", about.get("ActiveEnterTimestamp")),
                ("pid", about.get("MainPID") if about.get("MainPID") != "0" else None),
                ("restarts", about.get("NRestarts")),
                ("last result", _result(about) if "Result" in about else None),
                ("left running", _end_hint(facts.get("stepsLeftRunning"))),
                ("socket", _state(socket_name, socket)),
                ("starts at boot", "yes" if facts["startsAtBoot"] else "no"),
                ("file", about.get("FragmentPath")),
            )
        )
    return Exit.GOOD if about.get("ActiveState") == "active" else Exit.NO_DAEMON


@service.command(cls=Verb)
@scope_option
@click.option("-f", "--follow", is_flag=True, help="Go on printing new lines.")
@click.option("-n", "--lines", default=50, show_default=True, help="How many of the last lines.")
@click.pass_obj
def logs(session: Session, is_user: bool | None, follow: bool, lines: int) -> None:
    """Print the service's log, from the journal.

    \b
    Examples:
      flowd service logs --follow
      journalctl FLOWD_RUN_ID=run_85156557233b
    """
    from flowd.service import unit_files  # noqa: PLC0415 - heavy

    manager = manager_of(session, is_user, or_installed=True)
    unit = unit_files.names(session.place.resolve())[0]
    flag = "--user-unit" if manager.scope == "user" else "--unit"
    argv = ["journalctl", f"{flag}={unit}", f"--lines={lines}", *(["--follow"] if follow else [])]
    sys.stdout.flush()
    os.execvp(argv[0], argv)


def _left_running(manager: "ServiceManager", workspace: Path) -> int | None:
    """How many steps a daemon that is gone has left running; None where we may not look."""
    from flowd.service import end_steps  # noqa: PLC0415 - heavy

    try:
        return end_steps.left_running(workspace=workspace, environ=environment_of(manager, workspace))
    except OSError:
        return None


def _state(unit: str, about: dict[str, str]) -> str:
    """The unit's state; empty where its name is too long for systemd."""
    return f"{unit}: {about['ActiveState']} ({about['SubState']})" if "ActiveState" in about else f"{unit}: none"


def _result(about: dict[str, str]) -> str:
    if about.get("Result") == "success":
        return "success"
    status = about.get("ExecMainStatus", "0")  # of what had run before, where it was not started at all
    return f"{about.get('Result')}{f', exit status {status}' if status != '0' else ''}; `flowd service logs` says why"


def _end_hint(left: object) -> str | None:
    steps = f"{left} {'step' if left == 1 else 'steps'}"
    return f"{steps}, for the next daemon; `flowd service end-steps` ends them" if left else None


@service.command("end-steps", cls=Verb, short_help="End the steps that a daemon which is gone has left.")
@scope_option
@click.pass_obj
def end_steps(session: Session, is_user: bool | None) -> None:
    """End the steps that a daemon which is gone has left running; the next daemon records them as canceled.

    systemd stops nothing of a service that has failed. Its steps wait for the next daemon, or until orphan_grace_s has
    passed; this ends them now: SIGTERM, their grace, SIGKILL. Where a daemon runs, it declines: use `flowd cancel`.

    The units call it after every end of the daemon, too. It then ends steps only where systemd stops the service for
    good; a restart, a crash, and a watchdog's kill leave them to the next daemon.

    \b
    Examples:
      flowd service end-steps
      sudo flowd service end-steps -w /srv/automation
    """
    from flowd.service import end_steps  # noqa: PLC0415 - heavy

    is_asked = not end_steps.is_called_by_unit(os.environ)
    workspace, environ = session.chosen_workspace, dict(os.environ)
    if is_asked and (manager := _installed(session, is_user)) is not None:
        workspace = session.place.resolve()
        environ |= environment_of(manager, workspace)
    with told():
        count = asyncio.run(end_steps.end_steps(workspace=workspace, environ=environ, is_asked=is_asked))
    if count or is_asked:
        printing.line(f"ended {printing.count(count, 'step')} that flowd had left running")


def _installed(session: Session, is_user: bool | None) -> "ServiceManager | None":
    """The manager that has a service of the workspace; None where flowd is run by hand."""
    from flowd.service import installation  # noqa: PLC0415 - heavy

    try:
        manager = manager_of(session, is_user, or_installed=True)
    except CommandError:
        if is_user is None:
            return None
        raise
    return manager if installation.is_meant(manager, session.place.resolve(), home=Path.home()) else None
