"""Checks whose a system service and its files are: nobody else may exchange them, and its user must reach them."""

import pwd
from collections.abc import Iterator
from pathlib import Path

from flowd.doctor.finding import Finding, fail, ok
from flowd.service import parents, unit_files
from flowd.service.systemctl import ServiceManager
from flowd.state import ownership


def check(manager: ServiceManager, workspace: Path, service: str, socket: str) -> Iterator[Finding]:
    """Check the folders above what the service has outside of its workspace, and the user of its socket."""
    user = manager.show(service, "User").get("User") or "root"
    try:
        uid = int(user) if user.isdecimal() else pwd.getpwnam(user).pw_uid
    except KeyError:
        yield fail(
            "service.system.user",
            f"{service} runs as {user}, and there is no such user",
            "Make one (systemd-sysusers does, from flowd's sysusers.conf), or name another: User= in the unit.",
        )
        return
    yield from _exchangeable(workspace, uid)
    yield _socket(manager, service, socket, user, uid)


def _exchangeable(workspace: Path, uid: int) -> Iterator[Finding]:
    for path in unit_files.system_places(workspace):
        if found := ownership.problem_above(path, uid=uid):
            yield fail(
                "service.system.parents", f"{found}, and so could exchange {path} of the service", parents.remedy(path)
            )


def _socket(manager: ServiceManager, service: str, socket: str, user: str, uid: int) -> Finding:
    owner = manager.show(socket, "SocketUser").get("SocketUser") or "root"
    if owner in (user, str(uid)):
        return ok("service.system.user", f"it runs as {user}, whose the socket is")
    return fail(
        "service.system.user",
        f"{service} runs as {user}, and {socket} belongs to {owner}: of the two, only {owner} can call it",
        f"Say SocketUser={user} in {socket} ({manager.typed('edit', socket)}: [Socket], SocketUser={user}); then "
        f"{manager.typed('restart', socket, service)} (running steps go on)",
    )
