"""Which code a keeper runs, and what starts may ask of it. A keeper may be older or newer than its daemon.

Nobody has to remember to raise a number: the code is compared as it is, and a start asks for every member that means
something in it.
"""

from __future__ import annotations

import binascii
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from typing import Any

_ALWAYS = frozenset(
    {"op", "id", "argv", "cwd", "env", "stdout", "stderr", "timeout_s", "grace_s", "max_output_bytes", "detach", "mark"}
)
LEASE = "lease_until_s"
"""A start with it, and the frame ``lease``."""
_LIMITS = frozenset({
    "limits", "limits.cpu_percent", "limits.cpu_time_s", "limits.file_bytes", "limits.memory_bytes", "limits.niceness",
    "limits.open_files", "limits.processes", "limits.umask",
})  # fmt: skip
ABILITIES = _ALWAYS | _LIMITS | {LEASE}
"""What this keeper can do: the members of a start that it knows, and of its limits."""
_OF_LIMITS = frozenset({"clone3", "cgroup"})
"""Capabilities that keepers have had since they can keep limits."""


def asked(start: Mapping[str, Any]) -> set[str]:
    """What a start asks of its keeper, by the names of `ABILITIES`.

    >>> sorted(asked({"op": "start", "detach": False, "limits": {"umask": 0}}))
    ['limits', 'limits.umask', 'op']
    """
    members = {name for name, value in start.items() if value and name != "body_bytes"}
    return members | {f"limits.{name}" for name in start.get("limits") or {}}


def abilities(hello: Mapping[str, Any]) -> frozenset[str]:
    """What a keeper can do, by its hello. Those of earlier versions do not tell; what they can is known of them.

    >>> abilities({"capabilities": ["pidfd"]}) == ABILITIES
    False
    """
    if "abilities" in hello:
        return frozenset(hello["abilities"])
    knows_limits = _OF_LIMITS.intersection(hello.get("capabilities", ()))
    return _ALWAYS | _LIMITS if knows_limits else _ALWAYS


def code() -> str:
    """Names the keeper's code as it is on disk now; a keeper that is started now runs it. Takes about 1 ms.

    Not that of one which runs already: it asks at its start.
    """
    folder = os.path.dirname(os.path.abspath(__file__))
    checksum = 0
    for name in _sources(os.listdir(folder)):
        with open(os.path.join(folder, name), "rb") as file:
            checksum = binascii.crc32(file.read(), binascii.crc32(name.encode(), checksum))
    return f"{checksum:08x}"


def _sources(names: Collection[str]) -> list[str]:
    """Its modules, also where only compiled ones are installed."""
    sources = sorted(name for name in names if name.endswith(".py"))
    return sources or sorted(name for name in names if name.endswith(".pyc"))
