"""Reads a unit's cgroup: its processes, and the controllers that limits can be kept with."""

from pathlib import Path

from flowd.executors.systemd.bus import Manager

ROOT = Path("/sys/fs/cgroup")


async def controllers(manager: Manager) -> frozenset[str]:
    """The controllers that a manager can give to its units: none where it shares cgroup v1 with others."""
    group = str(await manager.manager_property("ControlGroup"))
    return _read_controllers(folder(group))


def _read_controllers(path: Path) -> frozenset[str]:
    try:
        return frozenset((path / "cgroup.controllers").read_text(encoding="ascii").split())
    except OSError:
        return frozenset()


def folder(control_group: str) -> Path:
    """Where a unit's cgroup is; on hybrid machines systemd's own hierarchy is beside the old controllers."""
    unified = ROOT / "unified"
    return (unified if unified.is_dir() else ROOT) / control_group.strip("/")


def processes(control_group: str) -> list[str]:
    """``"<pid> <command>"`` of everything in a unit's cgroup and below it; nothing where it is gone.

    Args:
        control_group: As the unit's property has it: empty once systemd has removed the cgroup.
    """
    if not control_group.strip("/"):
        return []
    path = folder(control_group)
    found: list[str] = []
    for file in (path / "cgroup.procs", *path.glob("**/*/cgroup.procs")):
        try:
            pids = file.read_text(encoding="ascii").split()
        except OSError:
            continue
        found += [f"{pid} {name}" for pid in pids if (name := _command(pid))]
    return found


def _command(pid: str) -> str:
    """The command line, or in brackets the name, of what has none: while it executes a program, or by its own wish.

    Empty for what has ended.
    """
    try:
        words = Path("/proc", pid, "cmdline").read_bytes().split(b"\0")
        name, _, rest = Path("/proc", pid, "stat").read_bytes().partition(b"(")[2].rpartition(b")")
    except OSError:
        return ""
    if rest.split()[0] in b"ZX":
        return ""
    said = b" ".join(words).strip() or b"[%s]" % name
    return said.decode("utf-8", "replace")[:200]
