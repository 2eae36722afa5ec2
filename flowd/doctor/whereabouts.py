"""Finds the settings of the service, not of this shell."""

import os
import pwd
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from flowd.domain.errors import StateError
from flowd.observe import own_unit
from flowd.observe.own_unit import Scope
from flowd.service import environment, unit_files
from flowd.service.environment import UnitEnvironment
from flowd.service.systemctl import ServiceManager, listens_at
from flowd.service.unit_files import system_state
from flowd.state import folder as state_folder
from flowd.state.lock import is_locked
from flowd_client import discovery
from flowd_client.discovery import find_service, find_socket, system_socket

_SAID = ("FLOWD_STATE_DIR", "CODEX_FLOW_BACKEND_DATA_DIR", "FLOWD_SOCKET")
_OURS = ("FLOWD_", "CODEX_FLOW_")
"""Variables that begin so, in the shell of whoever asks, are none of the service's."""


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where the daemon's settings come from.

    Attributes:
        environ: The environment to read them with.
        unit: The service that they are of; None where there is none, or the daemon was started by hand.
        told: What its unit says.
    """

    environ: Mapping[str, str]
    unit: str | None = None
    told: UnitEnvironment = field(default_factory=lambda: UnitEnvironment({}))


def find(workspace: Path, environ: Mapping[str, str], *, socket: Path | None) -> Whereabouts:
    """The environment of the workspace's service where it has one.

    What the caller says, and a daemon that was started by hand, come first.
    """
    if socket is not None or any(environ.get(name) for name in _SAID):
        return Whereabouts(environ)
    root = workspace.resolve()
    if (scope := _scope(root)) is None:
        return Whereabouts(environ)
    unit, socket_unit = unit_files.names(root)
    known = {name: value for name, value in environ.items() if not name.startswith(_OURS)}
    if scope == "system":
        known |= {"FLOWD_STATE_DIR": str(system_state(root)), "FLOWD_SOCKET": str(system_socket(root))}
    try:
        manager = ServiceManager(scope)
        told = environment.of(manager, unit)
        known |= _home(manager, unit)
        passed = _passed(manager, socket_unit, unit) if "FLOWD_SOCKET" in told.values else {}
    except StateError:
        if scope == "user":
            return Whereabouts(environ)  # it cannot run; the check of the service says so
        told, passed = UnitEnvironment({}), {}
    return Whereabouts({**known, **told.values, **passed}, unit, told)


def _scope(root: Path) -> "Scope | None":
    """Whose service has the workspace; None where nobody's has, or a daemon was started by hand."""
    wanted, found = system_socket(root), find_socket(root)
    scope, _ = find_service(root) or (None, None)
    is_by_hand = found != wanted and os.path.lexists(found)
    if not is_by_hand and (found == wanted or scope == "system"):
        return "system"
    return "user" if scope == "user" and not _is_elsewhere(root) else None


def _is_elsewhere(root: Path) -> bool:
    """Whether a daemon runs that is not the service's."""
    lock = discovery.state_dir(root) / state_folder.LOCK
    try:
        if not is_locked(lock):
            return False
        pid = int(lock.read_text(encoding="ascii"))
        unit = own_unit.find(Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return unit is None or unit.name != unit_files.names(root)[0]


def _passed(manager: ServiceManager, socket: str, service: str) -> dict[str, str]:
    """The socket that systemd passes to the service, whatever the service's environment says."""
    places = listens_at(manager.show(socket, "Listen")) if manager.listens_for(socket, service) else []
    return {"FLOWD_SOCKET": str(places[0])} if places else {}


def _home(manager: ServiceManager, unit: str) -> dict[str, str]:
    """Where root finds the settings of the service's user."""
    user = manager.show(unit, "User").get("User")
    if manager.scope == "user" or not user or os.geteuid() != 0:
        return {}
    try:
        return {"XDG_CONFIG_HOME": f"{pwd.getpwnam(user).pw_dir}/.config"}
    except KeyError:
        return {}


def is_closed(folder: Path) -> bool:
    """Whether the folder is there, and we may not look into it."""
    return folder.is_dir() and not os.access(folder, os.R_OK | os.X_OK)


def rightful_owner(folder: Path) -> int:
    """Whose a state folder and what is in it should be: ours, but for root, who looks after others', its owner's."""
    return os.geteuid() or folder.stat().st_uid
