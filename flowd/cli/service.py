"""``flowd service``: flowd as a service of this machine, or of yours on it."""

import asyncio
import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flowd.cli import printing
from flowd.cli.exits import CommandError, Exit
from flowd.cli.session import Session
from flowd.cli.verb import Verb, as_json_option, shared_options
from flowd.domain.errors import FlowdError

if TYPE_CHECKING:
    from flowd.units.installation import Action, ServiceManager

_SHOWN = ("LoadState", "ActiveState", "SubState", "UnitFileState", "MainPID", "StatusText", "Result", "NRestarts",
          "ActiveEnterTimestamp", "FragmentPath")  # fmt: skip

scope_option = click.option(
    "--user/--system",
    "is_user",
    default=None,
    help="Of your own user manager, or of the machine. Default: yours, and the machine's for root.",
)


class ServiceGroup(click.Group):
    """A group that takes the shared options before its verbs, too."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.extend(shared_options())


@click.group(cls=ServiceGroup, short_help="Run flowd as a systemd service.")
def service() -> None:
    """Run flowd for a workspace as a systemd service, of your own user manager or of the machine.

    \b
    Examples:
      flowd service install --dry-run
      flowd service install
      flowd service logs --follow
    """


@service.command(cls=Verb)
@scope_option
@click.option("--run-as", metavar="USER", help="Of a system service. Default: the workspace's owner; flowd for root's.")
@click.option("--now/--no-start", "is_started", default=True, help="Start it now, and wait until it is ready.")
@click.option("--dry-run", is_flag=True, help="Show every file and command, and do nothing.")
@click.pass_obj
def install(session: Session, is_user: bool | None, run_as: str | None, is_started: bool, dry_run: bool) -> None:
    """Make a service of this workspace: write its units, enable them, start them, and wait until flowd answers.

    Doing it again brings the units up to date; running steps go on meanwhile.

    \b
    Examples:
      flowd service install
      sudo flowd service install --system -w /srv/automation
    """
    from flowd import settings as settings_module  # noqa: PLC0415 - heavy
    from flowd.units import installation, templates  # noqa: PLC0415

    manager = _manager(session, is_user)
    workspace = session.workspace.resolve()
    with _told():
        settings = settings_module.load(workspace=workspace)
    wanted = templates.Wanted(
        scope=manager.scope,
        workspace=workspace,
        command=_command(),
        run_as=run_as or installation.owner_of(workspace),
        search_path=os.environ.get("PATH", os.defpath),
        socket=settings.socket,
        systemd_version=manager.version(),
    )
    if manager.scope == "system" and os.geteuid() != 0 and not dry_run:
        raise CommandError("A system service is root's to install: sudo flowd service install --system", Exit.REFUSED)
    if is_started and not dry_run:
        _refuse_beside_another(session, templates.names(workspace)[0])
    units = templates.render(wanted, home=Path.home())
    _do(installation.install(manager, units, wanted, is_started=is_started), dry_run=dry_run)
    if manager.scope == "user" and not installation.lingers(installation.user_name()):
        printing.line(
            "It runs while you are logged in. To let it run from boot on, and after you log out:\n"
            f"  loginctl enable-linger {installation.user_name()}"
        )
    if is_started and not dry_run:
        printing.line(f"{units.service_name} is ready at {units.socket}")


@service.command(cls=Verb)
@scope_option
@click.option("--dry-run", is_flag=True, help="Show every file and command, and do nothing.")
@click.pass_obj
def uninstall(session: Session, is_user: bool | None, dry_run: bool) -> None:
    """Stop and remove the service of this workspace. Events, runs and flow packages stay as they are.

    \b
    Examples:
      flowd service uninstall --dry-run
      flowd service uninstall
    """
    from flowd import winding_up  # noqa: PLC0415 - heavy
    from flowd.units import installation, templates  # noqa: PLC0415 - heavy
    from flowd_client.discovery import systemd_escape  # noqa: PLC0415 - light, but only here

    manager = _manager(session, is_user)
    workspace = session.workspace.resolve()
    if not installation.is_installed(manager.scope, workspace, home=Path.home()):
        raise CommandError(f"No {manager.scope} service is installed for {workspace}.", Exit.NOT_FOUND)
    environ = dict(os.environ)
    if manager.scope == "system":
        environ["FLOWD_STATE_DIR"] = str(templates.SYSTEM_STATE / systemd_escape(workspace))

    def end_steps() -> None:
        with _told():
            asyncio.run(winding_up.end_steps(workspace=workspace, environ=environ, is_asked=True))

    _do(installation.uninstall(manager, workspace, home=Path.home(), end_steps=end_steps), dry_run=dry_run)
    if not dry_run:
        printing.line("Removed. What flowd remembers is still there; `flowd serve` or another install goes on with it.")


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
    from flowd.units import installation, templates  # noqa: PLC0415 - heavy

    manager = _manager(session, is_user)
    service_name, socket_name = templates.names(session.workspace.resolve())
    about, socket = manager.show(service_name, *_SHOWN), manager.show(socket_name, *_SHOWN)
    is_installed = installation.is_installed(manager.scope, session.workspace.resolve(), home=Path.home())
    lingers = manager.scope == "system" or installation.lingers(installation.user_name())
    facts = {
        "scope": manager.scope,
        "installed": is_installed,
        "service": {"unit": service_name, **about},
        "socket": {"unit": socket_name, **socket},
        "startsAtBoot": about.get("UnitFileState") == "enabled" and lingers,
    }
    if as_json:
        printing.print_json(facts)
    else:
        printing.fields(
            (
                ("service", f"{service_name}: {about.get('ActiveState')} ({about.get('SubState')})"),
                ("says", about.get("StatusText")),
                ("since", about.get("ActiveEnterTimestamp")),
                ("pid", about.get("MainPID") if about.get("MainPID") != "0" else None),
                ("restarts", about.get("NRestarts")),
                ("last result", about.get("Result")),
                ("socket", f"{socket_name}: {socket.get('ActiveState')} ({socket.get('SubState')})"),
                ("starts at boot", "yes" if facts["startsAtBoot"] else "no"),
                ("file", about.get("FragmentPath")),
            )
        )
    return Exit.GOOD if about.get("ActiveState") == "active" else Exit.NO_DAEMON


@service.command(cls=Verb)
@scope_option
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes.")
@click.option("-n", "--lines", default=50, show_default=True, help="How many of the last lines.")
@click.pass_obj
def logs(session: Session, is_user: bool | None, follow: bool, lines: int) -> None:
    """Print the service's log, from the journal.

    \b
    Examples:
      flowd service logs --follow
      journalctl FLOWD_RUN_ID=run_85156557233b
    """
    from flowd.units import templates  # noqa: PLC0415 - heavy

    manager = _manager(session, is_user)
    unit = templates.names(session.workspace.resolve())[0]
    flag = "--user-unit" if manager.scope == "user" else "--unit"
    argv = ["journalctl", f"{flag}={unit}", f"--lines={lines}", *(["--follow"] if follow else [])]
    sys.stdout.flush()
    os.execvp(argv[0], argv)


@service.command("end-steps", cls=Verb, hidden=True)
@click.option("--always", is_flag=True, help="Also when the unit is not being stopped.")
@click.pass_obj
def end_steps(session: Session, always: bool) -> None:
    """End what a daemon that is gone has left running. The units call this after every end of the daemon.

    A restart, a crash, and a watchdog's kill leave steps to the next daemon. This ends them only where systemd is
    about to stop the unit for good: the daemon does so itself on SIGTERM, unless it hangs or has crashed.
    """
    from flowd import winding_up  # noqa: PLC0415 - heavy

    with _told():
        count = asyncio.run(
            winding_up.end_steps(workspace=session.chosen_workspace, environ=os.environ, is_asked=always)
        )
    if count:
        printing.line(f"ended {count} {'step' if count == 1 else 'steps'} that flowd had left running")


class _told:  # noqa: N801 - reads as a verb where it is used
    """Turns flowd's own refusals into the command's."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, FlowdError):
            raise CommandError(error.message, Exit.REFUSED) from error


def _manager(session: Session, is_user: bool | None) -> "ServiceManager":
    from flowd.units.installation import ServiceManager  # noqa: PLC0415 - heavy

    if not session.workspace.is_dir():
        raise CommandError(f"The workspace {session.workspace} is not a folder. Make it, or name another with -w.")
    is_system = os.geteuid() == 0 if is_user is None else not is_user
    with _told():
        return ServiceManager("system" if is_system else "user")


def _do(actions: "Iterable[Action]", *, dry_run: bool) -> None:
    for action in actions:
        printing.line(f"{'would ' if dry_run else ''}{action.says}" if action.shows else f"{action.says}")
        if dry_run:
            for text in action.shows.splitlines():
                printing.line(f"  | {text}")
            continue
        with _told():
            action.do()


def _command() -> str:
    """The flowd that is running now, as a path that stays valid."""
    found = Path(sys.argv[0])
    if found.name == "flowd" and found.exists():
        return str(found.absolute())
    beside = Path(sys.executable).with_name("flowd")
    chosen = str(beside) if beside.exists() else shutil.which("flowd")
    if chosen is None:
        raise CommandError("Cannot find the flowd command; install flowd (pipx install codex-flowd).", Exit.REFUSED)
    return chosen


def _refuse_beside_another(session: Session, unit: str) -> None:
    from flowd_client import requests, wire  # noqa: PLC0415 - light, but only here
    from flowd_client.errors import FlowClientError  # noqa: PLC0415

    if not session.socket_path.exists():
        return
    try:
        answer = session.ask(requests.call(wire.STATUS, None))
    except FlowClientError:
        return
    if answer.get("manager", {}).get("unit") != unit:
        raise CommandError(
            f"A daemon (pid {answer.get('pid')}) serves this workspace already, and not as {unit}. Stop it first.",
            Exit.REFUSED,
        )
