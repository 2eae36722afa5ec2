"""Ends processes of an attempt that no keeper knows any more. They have its mark in their environment."""

import signal
import time

from flowd.keeper.proctree import Processes

_BOUND_S = 5.0
"""After this long, only uninterruptible I/O explains a process that outlives SIGKILL."""
_LOOK_INTERVAL_S = 0.02


def end(mark: str) -> int:
    """Kill everything that bears the mark, also what it starts meanwhile; how many processes that were. Blocks until
    they are gone."""
    processes = Processes(proc=True, pidfd=True)
    killed: set[tuple[int, int]] = set()
    deadline_s = time.monotonic() + _BOUND_S
    while time.monotonic() < deadline_s:
        found = [one for one in processes.all().values() if mark.encode() in one.marks and not one.is_dead]
        if not found:
            break
        for process in found:
            processes.signal(process, signal.SIGKILL)
            killed.add((process.pid, process.start))
        time.sleep(_LOOK_INTERVAL_S)
    return len(killed)
