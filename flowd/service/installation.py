"""Installs and removes flowd as a service, by actions that can be shown before any of them is done."""

import errno
import os
import pwd
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from flowd.domain.errors import StateError
from flowd.observe.own_unit import Scope
from flowd.service import http_ports, parents, preflight, unit_files
from flowd.service.systemctl import ENABLED, ServiceManager, is_listening, listens_at
from flowd.service.unit_files import ServiceUnits, Wanted
from flowd.state import ownership
from flowd_client.discovery import SYSTEM_SOCKETS, system_socket

SYSUSERS = Path("/etc/sysusers.d/flowd.conf")
TMPFILES = Path("/etc/tmpfiles.d/flowd.conf")


@dataclass(frozen=True, slots=True)
class Action:
    """One thing to do.

    Attributes:
        says: The action as a command or a sentence.
        shows: More about it, such as a file's text.
    """

    says: str
    do: Callable[[], None]
    shows: str = ""


def check(wanted: Wanted) -> Iterator[Action]:
    """What to check before anything is written. Changes nothing."""
    if wanted.scope == "system":
        state = unit_files.system_state(wanted.workspace)
        yield Action(
            f"check that none but root and {wanted.run_as} could exchange {state}",
            lambda: _refuse_unsafe_parents(wanted.run_as, wanted.workspace),
        )
    if wanted.scope == "system" and os.geteuid() == 0:
        yield Action(
            f"check that user {wanted.run_as} can run {wanted.command} in {wanted.workspace}",
            lambda: preflight.check(wanted.run_as, wanted.command, wanted.workspace),
        )


def install(manager: ServiceManager, units: ServiceUnits, wanted: Wanted, *, is_started: bool) -> Iterator[Action]:
    """The actions that install a service for a workspace, in order. Doing them again updates an older one.

    Running steps go on: systemd is never asked to stop the service, only to restart it, in one transaction with its
    socket where that has to change.
    """
    about = manager.show(units.sockets[0], "Listen")
    are_sockets_kept = manager.holds_socket(units.sockets[0], units.service_name) and all(
        _is_in_force(manager, path, text) for path, text in units.files.items() if path.name in units.sockets
    )
    if wanted.scope == "system" and wanted.run_as == "flowd" and not has_user("flowd"):
        for path, command in ((SYSUSERS, ["systemd-sysusers"]), (TMPFILES, ["systemd-tmpfiles", "--create"])):
            text = unit_files.packaged(f"{path.parent.name.removesuffix('.d')}.conf")
            argv = [*command, str(path)]
            yield Action(f"write {path}", partial(_write, path, text), text)
            yield Action(shlex.join(argv), partial(_must, argv))
    for path, text in units.files.items():
        yield Action(f"write {path}", partial(_write, path, text), text)
    former = next(iter(units.files)).with_name(unit_files.http_name(wanted.workspace))
    if former not in units.files and unit_files.is_written_by_install(former):
        yield _systemctl(manager, "disable", "--now", former.name)
        yield Action(f"remove {former}", former.unlink)
    yield _systemctl(manager, "daemon-reload")
    yield _systemctl(manager, "enable", *units.sockets, units.service_name)
    if is_started:
        # systemd refuses to start or restart a socket by itself whose service runs. Together it stops both first; the
        # service's job is a restart all the same, which is what flowd keeps its steps for.
        names = (units.service_name,) if are_sockets_kept else (*units.sockets, units.service_name)
        yield _forget_failures(manager, units.service_name, *units.sockets)
        yield Action(
            f"{manager.typed('restart', *names)}, and wait until it is ready", lambda: _start(manager, units, names)
        )
        for old in listens_at(about):
            if old != units.socket and old.is_socket():
                remove = partial(_remove_dead, old, units.socket)
                yield Action(f"remove {old}, where clients looked until now", remove)


def uninstall(
    manager: ServiceManager, workspace: Path, *, home: Path, end_steps: Callable[[], None] | None
) -> Iterator[Action]:
    """The actions that remove a service, in order. State and files that people wrote stay; steps are canceled.

    Args:
        end_steps: Ends what a daemon that is gone has left running: systemd stops nothing of a unit that has failed.
            None leaves that to the next daemon.
    """
    service_name, socket_name = unit_files.names(workspace)
    http_name = unit_files.http_name(workspace)
    where = unit_files.folder(manager.scope, home)
    about = manager.show(http_name, "UnitFileState", "ActiveState")
    has_http = about.get("UnitFileState") in ENABLED or about.get("ActiveState") in ("active", "failed")
    names = (*([http_name] if has_http else []), socket_name, service_name)
    if (where / service_name).exists():  # else it is an install that did not get so far
        known = [name for name in names if _is_known(manager, name)]
        if known:
            yield _systemctl(manager, "disable", "--now", *known)
        if others := [name for name in names if name not in known]:
            argv = ("disable", *others)
            yield Action(manager.typed(*argv), partial(_quietly, manager, *argv))
    if end_steps is not None:
        yield Action("end the steps that a failed service has left running, if any", end_steps)
    yield _forget_failures(manager, *names)
    if manager.scope == "system":
        argv = ("clean", "--what=runtime", service_name)
        yield Action(manager.typed(*argv), lambda: _quietly(manager, *argv))
        socket = system_socket(workspace)
        yield Action(
            f"remove {socket} if nobody listens there, and folders of it that are empty",
            lambda: _remove_socket(socket),
        )
    for path in (where / service_name, where / socket_name, where / http_name):
        if os.path.lexists(path) if path.name != http_name else unit_files.is_written_by_install(path):
            yield Action(f"remove {path}", path.unlink)
    for path in (SYSUSERS, TMPFILES):
        if manager.scope == "system" and _is_last(where, service_name) and _is_ours(path):
            yield Action(f"remove {path} (the user flowd stays, because state may be its own)", path.unlink)
    yield _systemctl(manager, "daemon-reload")


def left_to_its_owner(scope: Scope, workspace: Path, *, home: Path) -> list[Path]:
    """Settings of a service that a person wrote and `uninstall` does not touch: drop-ins, the file of variables."""
    where = unit_files.folder(scope, home)
    units = (*unit_files.names(workspace), unit_files.http_name(workspace))
    settings = Path("/etc") if scope == "system" else where.parent.parent
    candidates = [
        *(where / f"{unit}.d" for unit in units),
        *(where / unit for unit in units[2:] if not unit_files.is_written_by_install(where / unit)),
        Path(f"{settings}/flowd{workspace}.env"),
    ]
    return [path for path in candidates if os.path.lexists(path)]


def is_installed(scope: Scope, workspace: Path, *, home: Path) -> bool:
    """Whether `install` has installed a service for a workspace."""
    return os.path.lexists(unit_files.folder(scope, home) / unit_files.names(workspace)[0])  # of any length


def is_meant(manager: ServiceManager, workspace: Path, *, home: Path) -> bool:
    """Whether a workspace has a service: `install` made it, or a person enabled or started the packaged unit for
    it, which fits every workspace and says nothing about this one."""
    about = manager.show(unit_files.names(workspace)[0], "UnitFileState", "ActiveState")
    is_used = about.get("UnitFileState") in ENABLED or about.get("ActiveState") != "inactive"
    return is_used or is_installed(manager.scope, workspace, home=home)


def lingers(user: str) -> bool:
    """Whether a user's services run without a login."""
    return Path("/var/lib/systemd/linger", user).exists()


def has_user(name: str) -> bool:
    """Whether this machine has a user of this name."""
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def owner_of(workspace: Path) -> str:
    """The user that a system service of this workspace runs as: its owner, never root."""
    uid = workspace.stat().st_uid
    if uid == 0:
        return "flowd"
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _systemctl(manager: ServiceManager, *argv: str) -> Action:
    def do() -> None:
        manager.run(*argv)

    return Action(manager.typed(*argv), do)


def _forget_failures(manager: ServiceManager, *names: str) -> Action:
    """Reset failures: systemd refuses a start that comes soon after several that failed."""
    return Action(manager.typed("reset-failed", *names), lambda: _quietly(manager, "reset-failed", *names))


def _quietly(manager: ServiceManager, *argv: str) -> None:
    try:
        manager.run(*argv)
    except StateError:
        pass  # there was nothing to do it to


def _is_known(manager: ServiceManager, name: str) -> bool:
    """Whether systemd can stop a unit: not one that it cannot load, unless that is active."""
    about = manager.show(name, "LoadState", "ActiveState")
    return about.get("LoadState") in ("loaded", "masked") or about.get("ActiveState", "inactive") != "inactive"


def _is_last(where: Path, service_name: str) -> bool:
    """Whether no other workspace has a service here, and no package provides one for all."""
    return all(path.name == service_name for path in where.glob("flowd@*.service"))


def _is_ours(path: Path) -> bool:
    """Whether a file is as `install` wrote it."""
    return _is_written(path, unit_files.packaged(f"{path.parent.name.removesuffix('.d')}.conf"))


def _is_in_force(manager: ServiceManager, path: Path, text: str) -> bool:
    """Whether systemd uses exactly this text for a unit that runs."""
    about = manager.show(path.name, "NeedDaemonReload", "ActiveState")
    return about == {"NeedDaemonReload": "no", "ActiveState": "active"} and _is_written(path, text)


def _is_written(path: Path, text: str) -> bool:
    try:
        return path.read_text(encoding="utf-8") == text
    except OSError:
        return False


def _start(manager: ServiceManager, units: ServiceUnits, names: tuple[str, ...]) -> None:
    """Restart the service, so that new unit files are in force at once. Running steps go on."""
    began_s = time.time_ns() / 1e9
    try:
        manager.run("restart", *names)
    except StateError as error:
        for http in units.sockets[1:]:
            if manager.show(http, "ActiveState").get("ActiveState") == "failed":
                raise StateError(f"{http} cannot listen: {http_ports.why_taken(manager, http)}.") from error
        about = manager.show(units.service_name, "Result", "ExecMainStatus")
        result = about.get("Result")
        why = error.message if result == "success" else f"{result}, exit status {about.get('ExecMainStatus')}"
        said = manager.last_words(units.service_name, since_s=began_s)
        log = f"Its log ends with:\n{said}" if said else f"`{_read_log(manager, units)}` has its log."
        raise StateError(f"{units.service_name} did not start: {' '.join(why.split())}.\n{log}") from error


def _read_log(manager: ServiceManager, units: ServiceUnits) -> str:
    field = "_SYSTEMD_USER_UNIT" if manager.scope == "user" else "_SYSTEMD_UNIT"
    return f"sudo journalctl {shlex.quote(f'{field}={units.service_name}')}"


def _refuse_unsafe_parents(user: str, workspace: Path) -> None:
    uid = preflight.account(user).uid
    for path in unit_files.system_places(workspace):
        if found := ownership.problem_above(path, uid=uid):
            raise StateError(f"{found}, and so could exchange {path} of the service. {parents.remedy(path)}")


def _remove_dead(socket: Path, new: Path) -> None:
    """Remove the socket of the unit before: systemd removes the one that the unit names now."""
    is_the_same = new.exists() and socket.samefile(new)
    if not is_the_same and not is_listening(socket):
        socket.unlink()


def _remove_socket(socket: Path) -> None:
    """Remove sockets that systemd has forgotten at a daemon-reload, because their paths are not ASCII."""
    if socket.is_socket() and not is_listening(socket):
        socket.unlink()
    _remove_empty(socket.parent, below=SYSTEM_SOCKETS)


def _remove_empty(folder: Path, *, below: Path) -> None:
    while folder.is_relative_to(below) and folder != below:
        try:
            folder.rmdir()
        except FileNotFoundError:
            pass
        except OSError:
            return  # another workspace's socket is in it
        folder = folder.parent


def _must(argv: list[str]) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise StateError(f"{' '.join(argv)} failed: {done.stderr.strip()}")


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StateError(f"Cannot write {path}: {error.strerror}.{_elsewhere(error, path)}") from error


def _elsewhere(error: OSError, path: Path) -> str:
    """What else there is where a machine's units are not to be written by hand."""
    if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
        return ""
    transient = "/run" if path.is_relative_to("/etc") else "$XDG_RUNTIME_DIR"
    return (
        " Where this machine's units come from an image or a configuration (NixOS, say), put in there what "
        "`flowd service install --dry-run` shows; or copy it below "
        f"{transient}/systemd/{'system' if transient == '/run' else 'user'}, until the next boot; or run `flowd serve` "
        "under what does manage programs here."
    )
