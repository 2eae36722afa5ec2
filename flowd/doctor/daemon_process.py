"""Checks the daemon: its lock, its process, its socket, and whether it replies."""

import os
import socket
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from flowd.doctor.finding import Finding, fail, ok, warn
from flowd.doctor.scene import Scene
from flowd.domain.errors import StateError
from flowd.observe import installed, own_unit
from flowd.observe.own_unit import Scope
from flowd.service import unit_files
from flowd.service.systemctl import ServiceManager, is_listening, listens_at
from flowd.state import folder as state_folder
from flowd.state.sockets import is_bindable
from flowd_client import small_file, wire
from flowd_client.discovery import find_socket
from flowd_client.errors import FlowClientError
from flowd_client.unix import UnixTransport

RESPONSE_S = 5.0
_TROUBLE_REMEDIES = {
    "log": "Look whether what takes flowd's log does so: the journal, the disk, whoever reads its stderr.",
    "http": "flowd tries again every 2 s, and serves it as soon as the address can be had.",
    "notices": "Put right what it says, then: flowd notices test NAME; what waits is tried again for a day.",
    "unit": "Set KillMode=process in the unit; flowd asks systemd over D-Bus what a stop is for.",
    "settings": "Nothing, where nothing is meant to be there (with ProtectHome=yes, say); else open the folder.",
}


def check(scene: Scene) -> Iterator[Finding]:
    """Check the lock and the process, then the socket and its pointer, then the status."""
    yield _process(scene)
    socket_path = _socket_path(scene)
    if scene.has_daemon:
        yield from _alive(scene, socket_path)
    else:
        yield from _left_behind(scene, socket_path)
    if scene.has_daemon and not socket_path.exists():
        return  # which has been told
    if (lost := _client_finds(scene, socket_path)) is not None:
        yield lost


def _process(scene: Scene) -> Finding:
    if not scene.has_daemon:
        return ok("daemon.lock", "no daemon runs")
    if scene.daemon is None:
        return warn(
            "daemon.lock",
            f"some process holds {scene.folder / state_folder.LOCK} and does not say who it is",
            "Look for it with: fuser -v " + str(scene.folder / state_folder.LOCK),
        )
    return ok("daemon.lock", f"held by the daemon, pid {scene.daemon.pid}")


def _socket_path(scene: Scene) -> Path:
    """Where the daemon of these settings listens, or would: there, or where the pointer beside it leads."""
    wanted = scene.settings.socket
    pointer = _pointer(wanted)
    if not wanted.exists() and pointer.exists():
        with suppress(OSError):
            return wanted.parent / small_file.read(pointer).decode("utf-8", "surrogateescape").strip()
    return wanted


def _pointer(wanted: Path) -> Path:
    return wanted.with_name(f"{wanted.name}.path")


def _alive(scene: Scene, path: Path) -> Iterator[Finding]:
    restart = _restart(scene)
    if not path.exists():
        yield fail(
            "daemon.socket",
            f"the daemon runs, but {path} is not there: nobody can connect to it",
            restart
            or "Somebody removed it, or the daemon was started with another FLOWD_SOCKET. Restart the daemon; running "
            'steps go on with `on_stop = "keep"`.',
        )
        return
    mode = stat.S_IMODE(path.lstat().st_mode)
    if mode & 0o077:
        yield fail("daemon.socket", f"{path} has mode {mode:04o}: others may connect", f"Run: chmod 600 {path}")
    else:
        yield ok("daemon.socket", f"{path}")
    yield from _answer(path, restart)


def _restart(scene: Scene) -> str | None:
    """What restarts a daemon that is a service; None for one that was started by hand."""
    unit, socket_unit = unit_files.names(scene.settings.workspace)
    try:
        found = (
            own_unit.find(Path(f"/proc/{scene.daemon.pid}/cgroup").read_text(encoding="utf-8"))
            if scene.daemon
            else None
        )
        if found is None or found.name != unit:
            return None
        return f"{ServiceManager(found.scope).typed('restart', socket_unit, unit)} (running steps go on)"
    except (OSError, StateError):
        return None


def _answer(path: Path, restart: str | None) -> Iterator[Finding]:
    transport = UnixTransport(path)
    try:
        said: dict[str, Any] = transport.call(wire.STATUS, {}, timeout_s=RESPONSE_S)
    except FlowClientError as error:
        yield fail("daemon.answer", f"it does not answer: {error}", _after_its_log(restart))
        return
    finally:
        transport.close()
    yield is_well(said, installed.installed_at_s(), time.time())
    for trouble in said.get("troubles", ()):
        yield warn(f"daemon.{trouble['what']}", trouble["problem"], _TROUBLE_REMEDIES.get(trouble["what"], ""))


def is_well(said: Mapping[str, Any], installed_at_s: float | None, now_s: float) -> Finding:
    """How a daemon is that replied with this status: ready, and of the same code as this command."""
    what = f"{said.get('state')}, version {said.get('version')}, pid {said.get('pid')}"
    if other := installed.other_code(said, installed_at_s, now_s):
        return warn("daemon.answer", f"{what}; {other}", "Restart the daemon, so that both are of the same code.")
    if said.get("state") == "draining":
        return warn("daemon.answer", f"{what}: it starts no more runs", "Restart it when its running steps have ended.")
    return ok("daemon.answer", what)


def _after_its_log(restart: str | None) -> str:
    return f"`flowd service logs` may say why; then: {restart}" if restart else "Look into its log; then restart it."


def _left_behind(scene: Scene, path: Path) -> Iterator[Finding]:
    """What a killed daemon left: it misleads clients until the next daemon removes it."""
    pointer = _pointer(scene.settings.socket)
    if path.exists() and path.is_socket():
        if _listens(path):
            yield _listener(scene, path)
            return
        yield _removable(scene, "daemon.socket", path, f"{path} is left of a daemon that was killed", _is_dead_socket)
    elif path.exists():
        yield fail("daemon.socket", f"{path} is not a socket: no daemon can listen there", f"Move it away: mv {path} …")
    else:
        yield ok("daemon.socket", "none, as there is no daemon")
    if pointer.exists():
        yield _removable(
            scene, "daemon.pointer", pointer, f"{pointer} points to a socket that nobody listens at", os.path.isfile
        )


def _listener(scene: Scene, path: Path) -> Finding:
    """Who listens where no daemon does."""
    unit = unit_files.names(scene.settings.workspace)[1]
    scopes: tuple[Scope, ...] = ("user", "system")
    for scope in scopes:
        with suppress(StateError):
            about = ServiceManager(scope).show(unit, "ActiveState", "Listen")
            if about.get("ActiveState") == "active" and path in listens_at(about):
                return ok("daemon.socket", f"{path}: systemd listens, and starts the daemon for its first client")
    return warn(
        "daemon.socket",
        f"something listens at {path}, but no daemon holds the lock of {scene.folder}",
        f"A socket unit of another user may, until its first client; else look who it is: fuser -v {path}.",
    )


def _removable(scene: Scene, check_: str, path: Path, found: str, is_still_so: Callable[[Path], bool]) -> Finding:
    def repair() -> str:
        with scene.without_daemon() as is_alone:
            if not is_alone or not is_still_so(path):
                return ""
            path.unlink()
        return f"removed {path}"

    return warn(check_, found, "The next start removes it; so does `flowd doctor --repair`.", repair)


def _is_dead_socket(path: Path) -> bool:
    return path.is_socket() and not _listens(path)


def _listens(path: Path) -> bool:
    """Whether somebody listens. Connects only where the kernel's list does not say so: for a socket of systemd, a
    connection would start the daemon."""
    return is_listening(path) or _takes_connections(path)


def _takes_connections(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(RESPONSE_S)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            is_long = not is_bindable(path)
            probe.connect(f"/proc/self/fd/{folder}/{path.name}" if is_long else str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            return True  # busy, or not ours to connect to: in doubt, somebody is there
        finally:
            os.close(folder)
    return True


def _client_finds(scene: Scene, listens: Path) -> Finding | None:
    """Whether clients, who know less of the settings, look for the socket where the daemon listens."""
    found = find_socket(scene.settings.workspace)
    is_nowhere = not scene.has_daemon and not os.path.lexists(listens)  # then clients cannot be led there, either
    if found == listens or is_nowhere:
        return None
    return warn(
        "daemon.discovery",
        f"the daemon listens at {listens}, but clients look at {found}",
        "Set FLOWD_SOCKET (or `socket` in .codex/flowd.toml) for both.",
    )
