"""Turns a step's limits into a confinement that this machine can keep, or refuses the start."""

from __future__ import annotations

import os
import resource

from flowd.keeper.confinement import Confinement
from flowd.keeper.refusal import RefusalError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from flowd.keeper.proctree import Processes

_PLAIN = {
    "open_files": resource.RLIMIT_NOFILE,
    "file_bytes": resource.RLIMIT_FSIZE,
}
_PERIOD_US = 100_000
"""The kernel's own default, and systemd's: a step that has used up its share pauses for the rest of it."""
_PROBE_BYTES = 1 << 40
"""More address space than any probe has, and than many machines would give."""


class Limiter:
    """Turns limits into confinements, by a cgroup's controllers where there are, else by rlimits."""

    def __init__(self, processes: Processes, controllers: frozenset[str], *, may_clone: bool) -> None:
        self._processes = processes
        self._may_clone = may_clone
        self._controllers = controllers
        self._enforced: dict[str, bool] = {}

    def confine(self, limits: dict[str, int], cgroup: str) -> Confinement | None:
        """The confinement that keeps these limits in this cgroup; None when there is neither.

        Raises:
            RefusalError: One cannot be kept here.
        """
        if not limits and not cgroup:
            return None
        niceness, umask = limits.get("niceness"), limits.get("umask")
        plan = Confinement(cgroup, may_clone=self._may_clone, niceness=niceness, umask=umask)
        for name, number in _PLAIN.items():
            if name in limits:
                plan.rlimits.append((name, number, limits[name], limits[name]))
        if "cpu_time_s" in limits:
            seconds = limits["cpu_time_s"]
            # First SIGXCPU, which says what it was; then SIGKILL for who catches that.
            plan.rlimits.append(("cpu_time_s", resource.RLIMIT_CPU, seconds, seconds + 1))
        if "cpu_percent" in limits:
            self._confine_share(plan, limits["cpu_percent"])
        if "processes" in limits:
            self._confine_processes(plan, limits["processes"])
        if "memory_bytes" in limits:  # the last one: what sets them needs some memory itself
            self._confine_memory(plan, limits["memory_bytes"])
        return plan

    def _confine_share(self, plan: Confinement, percent: int) -> None:
        if "cpu" not in self._controllers:
            raise RefusalError("limit", "cpu_percent")  # no limit of a process is one of its share
        plan.values["cpu.max"] = f"{percent * _PERIOD_US // 100} {_PERIOD_US}"

    def _confine_processes(self, plan: Confinement, count: int) -> None:
        if "pids" in self._controllers:
            plan.values["pids.max"] = str(count)
            return
        self._demand("processes", _is_nproc_enforced)
        # The kernel counts all of a user's threads against this, not the step's alone.
        whole = self._processes.count_of_user() + count
        plan.rlimits.append(("processes", resource.RLIMIT_NPROC, whole, whole))

    def _confine_memory(self, plan: Confinement, size_bytes: int) -> None:
        if "memory" in self._controllers:
            # Swap would only make it slow; and half a process tree is of no use.
            plan.values |= {"memory.max": str(size_bytes), "memory.swap.max": "0", "memory.oom.group": "1"}
            return
        self._demand("memory_bytes", _is_address_space_enforced)
        plan.rlimits.append(("memory_bytes", resource.RLIMIT_AS, size_bytes, size_bytes))

    def _demand(self, name: str, probe: Callable[[], bool]) -> None:
        if name not in self._enforced:
            self._enforced[name] = probe()
        if not self._enforced[name]:
            raise RefusalError("limit", name)


def _is_nproc_enforced() -> bool:
    """Whether RLIMIT_NPROC holds for us; it does not for root."""
    return _in_a_child(_fork_beyond_the_limit)


def _fork_beyond_the_limit() -> bool:
    resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
    try:
        pid = os.fork()
    except OSError:
        return True
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)
    return False


def _is_address_space_enforced() -> bool:
    """Whether RLIMIT_AS holds; macOS takes it, and does nothing."""
    return _in_a_child(_map_beyond_the_limit)


def _map_beyond_the_limit() -> bool:
    import mmap  # noqa: PLC0415 - in the child alone

    resource.setrlimit(resource.RLIMIT_AS, (_PROBE_BYTES, _PROBE_BYTES))
    try:
        mmap.mmap(-1, 2 * _PROBE_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0))
    except (OSError, MemoryError, ValueError):
        return True
    return False


def _in_a_child(probe: Callable[[], bool]) -> bool:
    pid = os.fork()
    if not pid:
        try:
            os._exit(0 if probe() else 1)
        finally:
            os._exit(2)
    return os.waitpid(pid, 0)[1] == 0
