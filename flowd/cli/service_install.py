"""``flowd service install`` and ``uninstall``: show every file and command, then carry them out."""

import asyncio
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flowd.cli import printing
from flowd.cli.exits import CommandError, Exit
from flowd.cli.service_scope import environment_of, manager_of, scope_option, told
from flowd.cli.session import RESPONSE_S, Session
from flowd.cli.verb import Verb
from flowd.domain.errors import FlowdError
from flowd.service import executable

_SHELL_ONLY = ("FLOWD_HTTP", "CODEX_FLOW_BACKEND_HOST", "CODEX_FLOW_BACKEND_PORT", "FLOWD_STATE_DIR",
               "CODEX_FLOW_BACKEND_DATA_DIR", "FLOWD_EXECUTOR", "CODEX_FLOW_BACKEND_EXECUTOR")  # fmt: skip
"""Variables of a shell that would say something else than what the service is told."""

if TYPE_CHECKING:
    from flowd.service.installation import Action
    from flowd.service.systemctl import ServiceManager
    from flowd.settings.values import Settings


@click.command(cls=Verb)
@scope_option
@click.option("--run-as", metavar="USER", help="Of a system service. Default: the workspace's owner; flowd for root's.")
@click.option("--now/--no-start", "is_started", default=True, help="Start it now, and wait until it is ready.")
@click.option("--dry-run", is_flag=True, help="Show every file and command, and change nothing.")
@click.pass_obj
def install(session: Session, is_user: bool | None, run_as: str | None, is_started: bool, dry_run: bool) -> None:
    """Make a service of this workspace: write its units, enable them, start them, and wait until flowd answers.

    Doing it again brings the units up to date; running steps go on meanwhile. A first install that fails takes back
    what it did.

    \b
    Examples:
      flowd service install
      sudo flowd service install --system -w /srv/automation
    """
    from flowd.service import installation, systemctl, unfit, unit_files  # noqa: PLC0415 - for these verbs alone

    workspace = session.place.resolve()
    if not workspace.is_dir():
        raise CommandError(f"The workspace {workspace} is not a folder. Make it, or name another with -w.")
    manager = manager_of(session, is_user, or_absent=dry_run)
    with told():
        unfit.refuse_unfit_path(manager.scope, workspace)
    session.vouch()  # whose service it will be is said below
    runner = run_as or installation.owner_of(workspace)
    settings = _settings(manager, workspace, runner)
    wanted = unit_files.Wanted(
        scope=manager.scope,
        workspace=workspace,
        command=_command(),
        run_as=runner,
        search_path=os.environ.get("PATH", os.defpath),
        socket=settings.socket,
        systemd_version=manager.version(),
        http=unit_files.listen_stream(settings.http),
    )
    if manager.scope == "system" and os.geteuid() != 0 and not dry_run:
        typed = executable.as_root("service", "install", "--system")
        raise CommandError(f"Only root can install a system service: {typed}", Exit.REFUSED)
    units = unit_files.render(wanted, home=Path.home())
    with told():
        unfit.refuse_masked(manager, units)
    if is_started and not dry_run:
        _refuse_under_steps(session, manager, settings)
    is_first = not installation.is_installed(manager.scope, workspace, home=Path.home())
    if not isinstance(manager, systemctl.AbsentManager):  # else it is for another machine
        _do(installation.check(wanted), dry_run=False)  # which changes nothing
    try:
        _do(installation.install(manager, units, wanted, is_started=is_started), dry_run=dry_run)
    except CommandError:
        if is_first and not dry_run:
            _take_back(manager, workspace)
        raise
    if manager.scope == "user" and not installation.lingers(systemctl.user_name()):
        printing.line(
            "It runs while you are logged in. To let it run from boot on, and after you log out:\n"
            f"  loginctl enable-linger {systemctl.user_name()}"
        )
    if is_started and not dry_run:
        printing.line(f"{units.service_name} is ready at {units.socket}")


@click.command(cls=Verb)
@scope_option
@click.option("--dry-run", is_flag=True, help="Show every file and command, and change nothing.")
@click.pass_obj
def uninstall(session: Session, is_user: bool | None, dry_run: bool) -> None:
    """Stop and remove the service of this workspace. Events, runs and flow packages stay as they are.

    \b
    Examples:
      flowd service uninstall --dry-run
      flowd service uninstall
    """
    from flowd.service import end_steps, installation  # noqa: PLC0415 - for these verbs alone
    from flowd_client import discovery  # noqa: PLC0415 - light, but only here

    manager = manager_of(session, is_user, or_installed=True)
    workspace = session.place.resolve()
    if not installation.is_installed(manager.scope, workspace, home=Path.home()):
        raise CommandError(
            f"No {manager.scope} service is installed for {workspace}." + _by_hand(manager, workspace), Exit.NOT_FOUND
        )
    if manager.scope == "system" and os.geteuid() != 0 and not dry_run:
        typed = executable.as_root("service", "uninstall", "--system")
        raise CommandError(f"Only root can remove a system service: {typed}", Exit.REFUSED)
    environ = environment_of(manager, workspace)

    def end_left_steps() -> None:
        try:
            asyncio.run(end_steps.end_steps(workspace=workspace, environ=environ, is_asked=True))
        except FlowdError as error:
            printing.line(f"  not done: {error.message}")

    kept = installation.left_to_its_owner(manager.scope, workspace, home=Path.home())
    _do(installation.uninstall(manager, workspace, home=Path.home(), end_steps=end_left_steps), dry_run=dry_run)
    if dry_run:
        return
    _tell_left(manager, workspace, Path(environ.get("FLOWD_STATE_DIR") or discovery.state_dir(workspace)))
    for path in kept:
        printing.line(f"Yours, and not removed: {path}")


def _by_hand(manager: "ServiceManager", workspace: Path) -> str:
    """How to remove a service that was made from a distribution package's units."""
    from flowd.service import installation, unit_files  # noqa: PLC0415 - for these verbs alone

    if not installation.is_meant(manager, workspace, home=Path.home()):
        return ""
    units = (*reversed(unit_files.names(workspace)), unit_files.http_name(workspace))
    return f" Its units are of a package, not of `flowd service install`: {manager.typed('disable', '--now', *units)}"


def _tell_left(manager: "ServiceManager", workspace: Path, state: Path) -> None:
    """What an uninstall has not removed."""
    from flowd.service import installation, unit_files  # noqa: PLC0415 - for these verbs alone

    printing.line(f"Removed. flowd's data is still in {workspace / state}.")
    if state == unit_files.system_state(workspace):
        printing.line("Another `flowd service install --system` continues with it; `flowd serve` has its own state.")
    else:
        printing.line("`flowd serve` or another install continues with it.")
    if manager.scope == "system" and installation.has_user("flowd"):
        printing.line("The user flowd was kept: files may belong to it.")


def _settings(manager: "ServiceManager", workspace: Path, runner: str) -> "Settings":
    """The settings as the service will have them, without what this shell's environment says.

    Args:
        runner: The user of a system service: the workspace may be that user's.
    """
    from flowd.service import environment, preflight, unit_files  # noqa: PLC0415 - for these verbs alone
    from flowd.settings import sources as settings_sources  # noqa: PLC0415 - heavy

    environ = {name: value for name, value in os.environ.items() if not name.startswith(_SHELL_ONLY)}
    if manager.scope == "system":
        environ["FLOWD_STATE_DIR"] = str(unit_files.system_state(workspace))
    with told():
        its_own = environment.of(manager, unit_files.names(workspace)[0]).values
        also = preflight.account(runner).uid if manager.scope == "system" else None
        return settings_sources.load(workspace=workspace, environ={**environ, **its_own}, also=also)


def _take_back(manager: "ServiceManager", workspace: Path) -> None:
    """Undo what an install has done so far. Steps that an earlier daemon left running are kept for the next one."""
    from flowd.service import installation  # noqa: PLC0415 - heavy

    printing.line("It failed. Undoing what was done:")
    _do(installation.uninstall(manager, workspace, home=Path.home(), end_steps=None), dry_run=False)


def _do(actions: "Iterable[Action]", *, dry_run: bool) -> None:
    for action in actions:
        printing.line(f"{'would ' if dry_run and action.shows else ''}{action.says}")
        if dry_run:
            for text in action.shows.splitlines():
                printing.line(f"  | {text}")
            continue
        try:
            action.do()
        except FlowdError as error:
            sentence, _, more = error.message.partition("\n")
            for text in more.splitlines():
                printing.note(text)
            raise CommandError(sentence, Exit.REFUSED) from error


def _command() -> str:
    """The flowd that is running now, as a path that stays valid."""
    chosen = executable.find()
    if chosen is None:
        raise CommandError(
            "Cannot find the flowd command; install flowd, in a clone of its repository: pipx install .", Exit.REFUSED
        )
    return chosen


def _refuse_under_steps(session: Session, manager: "ServiceManager", settings: "Settings") -> None:
    """Refuse an install that would separate running steps from the daemon that knows them."""
    from flowd import wiring  # noqa: PLC0415 - heavy
    from flowd.service import unit_files  # noqa: PLC0415

    unit, socket_unit = unit_files.names(settings.workspace)
    response = _daemon(session, manager, unit, socket_unit)
    if response is not None:
        _refuse_beside_another(response, manager.scope, unit)
        _refuse_other_state(response, settings.state_dir)
    try:
        wiring.refuse_other_executor(settings)
    except FlowdError as error:
        raise CommandError(f"{error.message} Nothing has been changed.", Exit.REFUSED) from error


def _daemon(session: Session, manager: "ServiceManager", unit: str, socket_unit: str) -> dict[str, Any] | None:
    """What a daemon that runs says of itself. The settings may have moved its socket since it was started, so the
    service's own is asked, too; only while the service runs, because that would start it."""
    from flowd.service.systemctl import listens_at  # noqa: PLC0415 - heavy
    from flowd_client import requests, wire  # noqa: PLC0415 - light, but only here
    from flowd_client.errors import FlowClientError  # noqa: PLC0415
    from flowd_client.unix import UnixTransport  # noqa: PLC0415

    sockets = [session.socket_path]
    if manager.show(unit, "ActiveState").get("ActiveState") == "active":
        sockets += listens_at(manager.show(socket_unit, "Listen"))
    request = requests.call(wire.STATUS, None)
    for socket in dict.fromkeys(sockets):
        if not os.path.lexists(socket):
            continue
        transport = UnixTransport(socket)
        try:
            response: dict[str, Any] = transport.call(
                request.method, request.params, timeout_s=request.timeout_s(RESPONSE_S)
            )
        except FlowClientError:
            continue
        finally:
            transport.close()
        return response
    return None


def _refuse_beside_another(response: dict[str, Any], scope: str, unit: str) -> None:
    found = response.get("manager", {})
    if (found.get("scope"), found.get("unit")) != (scope, unit):
        how = f"as a {found['scope']} service" if found.get("unit") == unit else f"and not as {unit}"
        raise CommandError(
            f"A daemon (pid {response.get('pid')}) serves this workspace already, {how}. Stop it first.", Exit.REFUSED
        )


def _refuse_other_state(response: dict[str, Any], wanted: Path) -> None:
    """Refuse to change the state folder while runs in the old one are unfinished."""
    current = Path(str(response.get("stateDir")))
    running, queued = (int(response.get("runs", {}).get(status, 0)) for status in ("running", "queued"))
    if current.resolve() != wanted.resolve() and (running or queued):
        counted = f"{running} running and {queued} queued {'run' if running + queued == 1 else 'runs'}"
        raise CommandError(
            f"The daemon that runs has {counted} in {current}, and its settings now say {wanted}: flowd would lose "
            "sight of them. Let them end first, or stop the service, which ends those that run. Nothing has been "
            "changed.",
            Exit.REFUSED,
        )
