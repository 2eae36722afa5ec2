"""Which unit we are ourselves, and what its manager is about to do with it."""

import asyncio
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flowd.domain.errors import StateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from flowd.executors.systemd.bus import Scope

log = logging.getLogger("flowd.units")

_ASK_WITHIN_S = 3.0
_USER_MANAGER = re.compile(r"user@\d+\.service")


@dataclass(frozen=True, slots=True)
class OwnUnit:
    """The unit that a process belongs to."""

    name: str
    scope: "Scope"


def find(cgroups: str) -> OwnUnit | None:
    """The unit of a process, from the text of its ``/proc/<pid>/cgroup``; None where systemd does not manage it.

    Cgroups below a unit's are its own affair (``Delegate=``), so the innermost folder with a unit's name counts.

    >>> find("0::/system.slice/system-flowd.slice/flowd@srv-app.service/daemon")
    OwnUnit(name='flowd@srv-app.service', scope='system')
    >>> find("0::/user.slice/user-1000.slice/user@1000.service/app.slice/flowd@home-me.service")
    OwnUnit(name='flowd@home-me.service', scope='user')
    >>> find("0::/user.slice/user-1000.slice/session-3.scope") is None
    True
    """
    for line in cgroups.splitlines():
        hierarchy, _, path = line.partition(":")[2].partition(":")
        if hierarchy not in ("", "name=systemd"):
            continue
        parts = path.split("/")
        for index in range(len(parts) - 1, -1, -1):
            if parts[index].endswith(".service"):
                is_user = any(_USER_MANAGER.fullmatch(part) for part in parts[:index])
                return OwnUnit(parts[index], "user" if is_user else "system")
    return None


def is_root() -> bool:
    """Whether the system manager is ours to ask."""
    return os.geteuid() == 0


def current() -> OwnUnit | None:
    """The unit of this process."""
    try:
        return find(Path("/proc/self/cgroup").read_text(encoding="utf-8"))
    except OSError:
        return None


async def pending_job(environ: Mapping[str, str]) -> str | None:
    """What the manager is about to do with our own unit: ``stop``, ``restart`` …; None when nothing, or nobody tells.

    This is how a daemon that gets SIGTERM, or a command in ``ExecStopPost=``, tells ``systemctl stop`` from
    ``systemctl restart``: systemd runs the same commands for both, but the unit's job has the type.
    """
    unit = current()
    if unit is None:
        return None
    from flowd.executors.systemd.bus import BusError, Manager  # noqa: PLC0415 - takes 40 ms, and few daemons ever ask

    try:
        async with asyncio.timeout(_ASK_WITHIN_S), await Manager.connect(unit.scope, environ) as manager:
            return await manager.job_type(unit.name)
    except (StateError, BusError, TimeoutError) as error:
        log.warning("cannot ask systemd why it stops flowd", extra={"unit": unit.name, "error": str(error)})
        return None
