"""Gives each step a cgroup (version 2) of its own, where a part of the tree is delegated to flowd.

A process does not leave its cgroup by `setsid`, a double fork or a cleared environment, and ``cgroup.kill`` ends all of
it without a race (Linux 5.14). Each part of the tree has a single writer (systemd's docs/CGROUP_DELEGATION.md), so
nothing is touched that was not delegated to flowd: by ``Delegate=yes`` in its unit, or by the setting ``cgroup``.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_WANTED = ("memory", "pids", "cpu")
SUBGROUP = "daemon"
"""``DelegateSubgroup=`` of flowd's units."""
_UNIT_SUFFIXES = (".service", ".scope", ".slice")


class Cgroups:
    """The folder ``flowd-<keeper's directory>`` in the delegated part, with a cgroup below it for each attempt.

    Attributes:
        controllers: Of ``memory``, ``pids`` and ``cpu``, those that limit the attempts' cgroups.
    """

    def __init__(self, root: str, directory: str, *, may_control: bool) -> None:
        """Make the folder; reuse that of an earlier keeper of the same directory.

        Args:
            root: The delegated cgroup.
            may_control: No processes are to be expected in ``root``, so that controllers can be enabled in it.

        Raises:
            OSError: Nothing can be made there, or the kernel is older than ``cgroup.kill``.
        """
        about = os.stat(directory)
        self._base = os.path.join(root, f"flowd-{about.st_dev:x}-{about.st_ino:x}")
        os.makedirs(self._base, exist_ok=True)
        os.stat(os.path.join(self._base, "cgroup.kill"))
        # The kernel refuses controllers in a cgroup that has processes itself (EBUSY).
        is_controlling = may_control and _enable(root)
        self.controllers = frozenset(_enable(self._base) if is_controlling else ())
        self._prefix = f"run-{os.getpid()}-{os.urandom(3).hex()}"
        self._count = 0

    def new_path(self) -> str:
        """Where the next attempt's cgroup is to be made; never used before."""
        self._count += 1
        return os.path.join(self._base, f"{self._prefix}-{self._count}")

    def make(self, path: str, values: Mapping[str, str]) -> None:
        """Make an attempt's cgroup with these limits, by file name.

        Raises:
            OSError: It is not there, or one of the limits is not kept.
        """
        os.mkdir(path)
        try:
            for name, value in values.items():
                _write(os.path.join(path, name), value)
        except OSError:
            os.rmdir(path)
            raise

    def is_populated(self, path: str) -> bool:
        """Whether any process in it, or below it, lives."""
        return b"populated 1" in _read(os.path.join(path, "cgroup.events"))

    def pids(self, path: str) -> list[int]:
        """The processes in it and below it; threads and zombies are left out by the kernel."""
        found = [int(pid) for pid in _read(os.path.join(path, "cgroup.procs")).split()]
        for below in _below(path):
            found += self.pids(below)
        return found

    def kill(self, path: str) -> None:
        """Send SIGKILL to all of it at once, including what it forks meanwhile."""
        try:
            _write(os.path.join(path, "cgroup.kill"), "1")
        except OSError:
            pass

    def usage(self, path: str) -> tuple[int | None, int | None]:
        """Peak memory in bytes (with page cache) and processor time in ms of the whole tree; None if unknown."""
        peak = _read(os.path.join(path, "memory.peak")).strip()
        used_us = _fields(os.path.join(path, "cpu.stat")).get(b"usage_usec")
        return int(peak) if peak.isdigit() else None, None if used_us is None else round(int(used_us) / 1000)

    def had_oom_kill(self, path: str) -> bool:
        """Whether the kernel has killed something of it for want of memory."""
        return int(_fields(os.path.join(path, "memory.events")).get(b"oom_kill", 0)) > 0

    def remove(self, path: str) -> None:
        """Remove it with what is below it. What still has processes stays, for the next keeper to sweep."""
        for below in _below(path):
            self.remove(below)
        try:
            os.rmdir(path)
        except OSError:
            pass

    def sweep(self, kept: set[str]) -> None:
        """Remove what earlier keepers left, except these."""
        for path in _below(self._base):
            if path not in kept:
                self.remove(path)

    def close(self) -> None:
        """Remove the folder if nothing is in it."""
        self.remove(self._base) if not _below(self._base) else None


def find(setting: str, directory: str) -> tuple[Cgroups | None, str]:
    """The cgroups that ``setting`` (``auto``, ``off``, or a path) allows, and a few words about it for the log."""
    if setting == "off":
        return None, "cgroups are switched off"
    try:
        if setting != "auto":
            return Cgroups(setting, directory, may_control=True), f"cgroups in {setting}"
        root, may_control = delegated(_own_path())
        if not root:
            return None, "no cgroup is delegated"
        return Cgroups(root, directory, may_control=may_control), f"cgroups in {root}"
    except (OSError, ValueError) as error:
        return None, f"no cgroups: {error}"


def _own_path() -> str:
    """The folder of our own cgroup; empty where there is none."""
    own = ""
    with open("/proc/self/cgroup", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            if line.startswith("0::"):
                own = line[3:].rstrip("\n")
    if not own or own.startswith("/.."):  # of a parent namespace
        return ""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            fields, _, rest = line.partition(" - ")
            root, mounted_at = fields.split()[3:5]
            if rest.startswith("cgroup2 ") and (own + "/").startswith(root.rstrip("/") + "/"):
                return os.path.normpath(mounted_at + "/" + own[len(root.rstrip("/")) :])
    return ""


def delegated(own: str) -> tuple[str, bool]:
    """The delegated cgroup that we live in, and whether its processes live below it.

    Only our unit's own is looked at: one further up, such as a user's whole session, was given to another writer.
    """
    if not own:
        return "", False
    if _is_delegated(own):
        # Our unit's processes live in it, and so would those of its next start. Controllers need it to be empty.
        return own, False
    parent, name = os.path.split(own)
    is_unit_above = parent.endswith((".service", ".scope")) and not os.path.basename(parent).startswith("user@")
    is_subgroup = is_unit_above and not name.endswith(_UNIT_SUFFIXES)
    if is_subgroup and (_is_delegated(parent) or _is_our_subgroup(parent, name)):
        return parent, True  # DelegateSubgroup=
    return "", False


def _is_delegated(path: str) -> bool:
    """Whether systemd has marked it as given away, and we may write there."""
    for name in ("user.delegate", "trusted.delegate"):
        try:
            if os.getxattr(path, name) == b"1":
                return _is_writable(path)
        except OSError:
            pass
    return False


def _is_our_subgroup(unit: str, name: str) -> bool:
    """Whether it is the one that flowd's own units ask for. Managers of users mark nothing, but only make it there."""
    is_a_users = "/user@" in os.path.dirname(unit)
    return is_a_users and name == SUBGROUP and os.path.basename(unit).startswith("flowd@") and _is_writable(unit)


def _is_writable(path: str) -> bool:
    return os.access(path, os.W_OK) and os.access(os.path.join(path, "cgroup.procs"), os.W_OK)


def _enable(path: str) -> list[str]:
    """Hand the controllers that are there to the cgroups below; those that are handed on now."""
    available = _read(os.path.join(path, "cgroup.controllers")).decode().split()
    for name in _WANTED:
        if name in available:
            try:
                _write(os.path.join(path, "cgroup.subtree_control"), f"+{name}")
            except OSError:
                pass
    enabled = _read(os.path.join(path, "cgroup.subtree_control")).decode().split()
    return [name for name in _WANTED if name in enabled]


def _below(path: str) -> list[str]:
    try:
        with os.scandir(path) as entries:
            return [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []


def _read(path: str) -> bytes:
    """A file's content; empty where it cannot be read."""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read()
    except OSError:
        return b""


def _fields(path: str) -> dict[bytes, bytes]:
    """A file of names and values, one pair a line."""
    return dict(line.split(b" ", 1) for line in _read(path).splitlines())


def _write(path: str, value: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode())
    finally:
        os.close(fd)
