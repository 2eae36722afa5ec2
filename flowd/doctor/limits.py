"""Checks the machine's limits against what flowd needs: watched folders, and open files."""

import ctypes
import errno
import os
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

from flowd.catalog.scan import Scanner
from flowd.doctor.finding import Finding, ok, warn
from flowd.doctor.scene import Scene
from flowd.watching.tree import Tree

FILES_BESIDE_STEPS = 256
"""Connections of clients, the database, watches, and some to spare. Each running step takes one more."""

_IN_MODIFY = 2
_INOTIFY = Path("/proc/sys/fs/inotify")


def check(scene: Scene) -> Iterator[Finding]:
    """Try out what can be tried: a limit is shared with all other programs of this user."""
    yield _watches(scene)
    yield _open_files(scene)


def _watches(scene: Scene) -> Finding:
    if not sys.platform.startswith("linux"):
        return ok("limits.watches", "this system watches folders without inotify")
    folders = _folders(scene)
    limits = ", ".join(f"{name} {_limit(name)}" for name in ("max_user_watches", "max_user_instances"))
    number = _try_watching(folders)
    text = f"{len(folders)} folders to watch; {limits}"
    if number == 0:
        return ok("limits.watches", text)
    name = {errno.ENOSPC: "max_user_watches", errno.EMFILE: "max_user_instances"}.get(number)
    if name is None:
        return warn("limits.watches", f"{text}; watching fails: {os.strerror(number)}", "flowd looks every second.")
    return warn(
        "limits.watches",
        f"{text}; the programs of this user have used up {name}: flowd looks every second instead of watching",
        f"Raise it: sudo sysctl fs.inotify.{name}={max(1024, 2 * _limit(name))}",
    )


def _folders(scene: Scene) -> list[str]:
    """Those of the packages, and those of the files that flows watch."""
    scanner = Scanner(scene.settings.workspace)
    snapshot = scanner.scan()
    found = {folder for folder in scanner.folders() if os.path.isdir(folder)}
    for watch in snapshot.watches:
        tree = Tree(watch, str(scene.settings.workspace))
        tree.look()
        found.update(tree.standing)
    return sorted(found)


def _limit(name: str) -> int:
    try:
        return int((_INOTIFY / name).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0


def _try_watching(folders: list[str]) -> int:
    """Watch the folders for a moment. Returns 0, or the error's number."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.inotify_init1(os.O_CLOEXEC)
    if fd < 0:
        return ctypes.get_errno()
    try:
        for folder in folders:
            if libc.inotify_add_watch(fd, os.fsencode(folder), _IN_MODIFY) < 0 and ctypes.get_errno() != errno.ENOENT:
                return ctypes.get_errno()
    finally:
        os.close(fd)
    return 0


def _open_files(scene: Scene) -> Finding:
    soft, hard = _file_limits(scene)
    needed = scene.settings.max_parallel + FILES_BESIDE_STEPS
    shown = "unlimited" if soft == resource.RLIM_INFINITY else str(soft)
    text = f"{shown} open files; max_parallel {scene.settings.max_parallel} needs about {needed}"
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return ok("limits.files", text)
    enough = hard == resource.RLIM_INFINITY or hard >= needed
    how = f"`ulimit -n {needed}` before the start, or LimitNOFILE={needed} in the unit"
    return warn("limits.files", text, f"Raise the limit: {how}" + ("." if enough else f"; the hard limit is {hard}."))


def _file_limits(scene: Scene) -> tuple[int, int]:
    """The daemon's limits where they can be read, else our own."""
    if scene.daemon is not None and (limits := scene.daemon.file_limits) is not None:
        return limits
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return hard, hard  # a daemon raises its own at its start
