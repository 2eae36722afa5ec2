"""Which systemd unit a process belongs to, and which manager it may ask."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Scope = Literal["system", "user"]
"""A systemd manager: the machine's, or a user's own."""

_USER_MANAGER = re.compile(r"user@\d+\.service")


@dataclass(frozen=True, slots=True)
class OwnUnit:
    """The unit that a process belongs to."""

    name: str
    scope: Scope


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


def default_scope() -> Scope:
    """The manager to start units with: root has the machine's, everybody else may only ask their own."""
    return "system" if os.geteuid() == 0 else "user"


def current() -> OwnUnit | None:
    """The unit of this process."""
    try:
        return find(Path("/proc/self/cgroup").read_text(encoding="utf-8"))
    except OSError:
        return None
