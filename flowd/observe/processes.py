"""Looks at processes and mounts of this machine. The one owner of `psutil`.

What the system does not tell, or does not tell us, is None or empty: never an error. The keeper, which must know whose
a process is, reads ``/proc`` itself (`flowd.keeper.proctree`).
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil


class ProcessView:
    """A process as it is when it is asked."""

    def __init__(self, process: psutil.Process) -> None:
        self._process = process
        self.pid: int = process.pid

    @property
    def command_line(self) -> list[str]:
        """Its arguments, the program's name first."""
        try:
            return self._process.cmdline()
        except psutil.Error:
            return []

    @property
    def environ(self) -> Mapping[str, str] | None:
        """Its environment as it was started with."""
        try:
            return self._process.environ()
        except psutil.Error:
            return None

    @property
    def uid(self) -> int | None:
        """The user that it runs as."""
        try:
            return self._process.uids().effective
        except psutil.Error:
            return None

    @property
    def folder(self) -> Path | None:
        """Its working directory."""
        try:
            return Path(self._process.cwd())
        except psutil.Error:
            return None

    @property
    def is_stopped(self) -> bool:
        """Whether a signal stopped it, so that it does nothing until it is continued."""
        return self._status() == psutil.STATUS_STOPPED

    @property
    def is_zombie(self) -> bool:
        """Whether it has ended, and its parent has not noticed."""
        return self._status() == psutil.STATUS_ZOMBIE

    @property
    def unix_sockets(self) -> list[Path]:
        """Where the Unix sockets are that it has open and that have a name."""
        # Its older name, which the oldest psutil that we take has alone.
        connections = getattr(self._process, "net_connections", None) or self._process.connections
        try:
            return sorted({Path(str(one.laddr)) for one in connections("unix") if one.laddr})
        except psutil.Error:
            return []

    @property
    def rss_bytes(self) -> int | None:
        """The memory that it has in use."""
        try:
            return int(self._process.memory_info().rss)
        except psutil.Error:
            return None

    @property
    def file_limits(self) -> tuple[int, int] | None:
        """How many files it may open: the soft and the hard limit."""
        if not hasattr(self._process, "rlimit"):
            return None
        try:
            return self._process.rlimit(psutil.RLIMIT_NOFILE)
        except (psutil.Error, OSError):
            return None

    def _status(self) -> str:
        try:
            return str(self._process.status())
        except psutil.Error:
            return ""


def find_process(pid: int) -> ProcessView | None:
    """The process of this id, None where there is none."""
    try:
        return ProcessView(psutil.Process(pid))
    except (psutil.Error, ValueError):
        return None


def all_processes() -> Iterator[ProcessView]:
    """Every process that we may see."""
    return map(ProcessView, psutil.process_iter())


def ancestors() -> set[int]:
    """The ids of our own process and of those that it descends from."""
    ours = psutil.Process()
    return {ours.pid, *(parent.pid for parent in ours.parents())}


def mounts() -> dict[Path, str]:
    """The kind of each mounted file system, by where it is mounted."""
    return {Path(mount.mountpoint): mount.fstype for mount in psutil.disk_partitions(all=True)}
