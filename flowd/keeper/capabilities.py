"""Probes once what this kernel offers a keeper. Each can be switched off by name, so that tests run every fallback."""

from __future__ import annotations

import ctypes
import fcntl
import os
import resource
import select
import signal
import socket
import struct
import sys
import time

PIDFD_SIGNAL_PROCESS_GROUP = 4
_PR_SET_CHILD_SUBREAPER = 36
_PIDFD_GET_INFO = 0xC040FF0B  # _IOWR(0xFF, 11, 64 bytes), the first version of struct pidfd_info
_PIDFD_INFO_EXIT = 1 << 3
_PIDFD_INFO = struct.Struct("=QQ11Ii")  # mask, cgroup id, pid to fsgid, exit status

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def now_s() -> float:
    """Seconds since boot, where the system has it with the time asleep: the same for each keeper of one boot."""
    return time.clock_gettime(_CLOCK)


def boot_id() -> str:
    """Names this boot; empty where the system does not: there, start times are wall times and differ by boot."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


class Capabilities:
    """The capabilities of this machine.

    Attributes:
        pidfd: Signals reach exactly the process that was looked at.
        pidfd_group: A pidfd stands for its process group, even after the leader is gone (Linux 6.9).
        pidfd_info: A pidfd has the exit status of a process that is not our child (Linux 6.15).
        proc: /proc describes processes; without it, `ps` does.
        subreaper: Whatever a step leaves behind becomes our child.
        children: /proc lists our children, so that a step without leftovers costs no scan.
        waitid: A leader can be seen as a zombie before it is reaped, which holds its pid and group (not macOS < 3.13).
        memfd: Standard input needs no file on a disk.
        peercred: A socket knows the user at its other end.
        badge: A resource limit that no program uses marks a step's processes, whatever they do to their environment.
        cgroup: Each step has a cgroup of its own; the keeper finds out at its start.
        clone3: A process may begin its life in a cgroup, instead of joining it; tried at each start.
        pipes: Steps print into named pipes, so that no script cuts what was recorded by opening its output anew.
        splice: The kernel moves what is in a pipe to a file, so that killing the keeper in between loses nothing.
        epoll: The kernel tells which pipe was written to first.
    """

    __slots__ = (
        "badge",
        "cgroup",
        "children",
        "clone3",
        "epoll",
        "memfd",
        "peercred",
        "pidfd",
        "pidfd_group",
        "pidfd_info",
        "pipes",
        "proc",
        "splice",
        "subreaper",
        "waitid",
    )

    def __init__(self, without: frozenset[str] = frozenset()) -> None:
        self.pidfd = "pidfd" not in without and _has_pidfd()
        self.pidfd_group = self.pidfd and "pidfd_group" not in without and _has_pidfd_group()
        self.pidfd_info = self.pidfd and "pidfd_info" not in without and _has_pidfd_info()
        self.proc = "proc" not in without and os.path.exists("/proc/self/stat")
        self.subreaper = "subreaper" not in without and _become_subreaper()
        self.children = self.proc and self.subreaper and os.path.exists(f"/proc/self/task/{os.getpid()}/children")
        self.waitid = "waitid" not in without and hasattr(os, "waitid")
        self.memfd = "memfd" not in without and hasattr(os, "memfd_create")
        self.peercred = "peercred" not in without and hasattr(socket, "SO_PEERCRED")
        self.badge = "badge" not in without and _has_badge()
        self.cgroup = False
        self.clone3 = "clone3" not in without and sys.platform.startswith("linux")
        self.pipes = "pipes" not in without and hasattr(os, "mkfifo")
        self.splice = self.pipes and "splice" not in without and hasattr(os, "splice")
        self.epoll = self.pipes and "epoll" not in without and hasattr(select, "epoll")

    def names(self) -> list[str]:
        """The names of the capabilities that are there."""
        return [name for name in self.__slots__ if getattr(self, name)]


def pidfd_status(pidfd: int) -> int | None:
    """The wait status of a reaped process; None when it is not reaped yet or the kernel does not keep it."""
    try:
        answer = fcntl.ioctl(pidfd, _PIDFD_GET_INFO, _PIDFD_INFO.pack(_PIDFD_INFO_EXIT, *(0,) * 13))
    except OSError:
        return None
    mask, *_, status = _PIDFD_INFO.unpack(answer)
    return int(status) if mask & _PIDFD_INFO_EXIT else None


def _has_badge() -> bool:
    if not (hasattr(resource, "prlimit") and hasattr(resource, "RLIMIT_RTTIME")):
        return False
    return resource.getrlimit(resource.RLIMIT_RTTIME)[1] == resource.RLIM_INFINITY


def _has_pidfd() -> bool:
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return hasattr(signal, "pidfd_send_signal")


def _has_pidfd_group() -> bool:
    pidfd = os.pidfd_open(os.getpid())
    try:
        # We lead no group, so a kernel that knows the flag finds nothing to signal; an older one refuses it.
        signal.pidfd_send_signal(pidfd, 0, None, PIDFD_SIGNAL_PROCESS_GROUP)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    finally:
        os.close(pidfd)
    return True


def _has_pidfd_info() -> bool:
    pidfd = os.pidfd_open(os.getpid())
    try:
        fcntl.ioctl(pidfd, _PIDFD_GET_INFO, _PIDFD_INFO.pack(_PIDFD_INFO_EXIT, *(0,) * 13))
    except OSError:
        return False
    finally:
        os.close(pidfd)
    return True


def _become_subreaper() -> bool:
    if not sys.platform.startswith("linux"):
        return False
    try:
        return bool(ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)
    except (OSError, AttributeError):
        return False
