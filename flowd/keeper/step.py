"""The state of one attempt under the keeper: what was asked, what runs, how far its end has come. Decides nothing."""

from __future__ import annotations

import os
import resource
import sys
import time

from flowd.keeper.capabilities import now_s
from flowd.keeper.proctree import Process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from flowd.keeper.recording import Recording

INFINITY = float("inf")

RUNNING = "running"
SETTLING = "settling"
"""The leader ended by itself and left processes behind, which have a moment to end as well."""
SETTLE_S = 0.1
"""How long that moment is. What ends with its leader, such as `> >(tee log)`, is not cut short and is no leftover."""
QUIET_S = 0.5
"""What goes on printing after its leader's end, or reads from a pipe then, is done when it prints nothing so long."""
STOPPING = "stopping"
"""SIGTERM was sent; SIGKILL follows at ``kill_at_s``."""
KILLING = "killing"
"""SIGKILL goes out in rounds until nothing is left, or until ``give_up_at_s``."""

FIRST_PAUSE_S = 0.01
LONGEST_PAUSE_S = 0.2

SPEC = ("stdout", "stderr", "timeout_s", "grace_s", "max_output_bytes", "detach", "mark")
"""Members of a start that must outlive this keeper. Neither argv nor environment: they hold secrets."""

_FACTS = (
    "cause",
    "leftovers",
    "survivors",
    "max_rss_bytes",
    "cpu_ms",
    "out_of_memory",
    "was_writing",
    "unwritten_bytes",
)
"""Of an exit, besides its status."""
_RSS_UNIT_BYTES = 1 if sys.platform == "darwin" else 1024


def own_peak_bytes() -> int:
    """Our own peak memory, where a child inherits it as its own until it executes another program (Linux)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 if sys.platform == "linux" else 0


class Step:
    """An attempt that has begun and whose end is not settled.

    Attributes:
        pid: Of its leader, which leads a session and a group of the same number; 0 when it was never learned.
        start: The leader's start time; with the pid and the boot, its identity.
        is_own: The leader is our child. Otherwise an earlier keeper was its parent, and it is ``adopted``.
        pidfd: Of an adopted leader, else -1.
        is_settled: Not an adopted step that still waits for what the daemon may hand over.
        begun_s: When its start began, on the clock of `now_s`; 0 where an earlier keeper did not write that down.
        is_seen: A keeper has seen it run, so that the end that this one sees is its end.
        deadline_s: When it times out, on the clock of `now_s`.
        lease_until_s: When it ends unless its lease is renewed before, on that clock; `INFINITY` without a lease.
        phase: One of the constants above.
        is_over: The leader has ended. While a leader of ours is not reaped, no other process gets its pid.
        is_ending: The pidfd of an adopted leader has reported its end.
        due_s: When something is to be done about it.
        status: Wait status of the leader; None when it was not seen.
        seen: Processes that were once found below it, by pid with their start times.
        badge: A resource limit that distinguishes its processes; 0 without one.
        cgroup: The folder of its cgroup; empty without one.
        slot: The pipes that it prints into; empty where it writes into its files.
        recording: What moves its output from those pipes into the files.
        over_at_s: When its leader ended.
        settled_bytes: While it settles, how much was printed when we looked last; ``printed_at_s`` is when that grew.
        was_writing: What it left behind still printed when it was ended.
        unwritten_bytes: What it printed and could not be recorded, because the disk was full at its end.
        rss_floor_bytes: Peak memory that the kernel counts as its, though it was ours before it executed its program.
    """

    __slots__ = (
        "badge",
        "begun_s",
        "cause",
        "cgroup",
        "cpu_ms",
        "deadline_s",
        "detach",
        "due_s",
        "give_up_at_s",
        "grace_s",
        "id",
        "is_ending",
        "is_over",
        "is_own",
        "is_seen",
        "is_settled",
        "kill_at_s",
        "lease_until_s",
        "leftovers",
        "mark",
        "max_output_bytes",
        "max_rss_bytes",
        "out_of_memory",
        "over_at_s",
        "paths",
        "pause_s",
        "phase",
        "pid",
        "pidfd",
        "printed_at_s",
        "recording",
        "rss_floor_bytes",
        "seen",
        "settled_bytes",
        "slot",
        "start",
        "status",
        "survivors",
        "timeout_s",
        "unwritten_bytes",
        "was_writing",
    )  # fmt: skip

    def __init__(self, attempt_id: str, spec: dict[str, Any]) -> None:
        self.id = attempt_id
        self.mark: bytes = os.fsencode(spec["mark"])
        self.paths = (str(spec["stdout"]), str(spec["stderr"]))
        self.timeout_s = float(spec["timeout_s"] or INFINITY)
        self.grace_s = max(0.0, float(spec["grace_s"]))
        self.max_output_bytes = int(spec["max_output_bytes"])
        self.detach = bool(spec["detach"])
        self.badge = int(spec.get("badge", 0))
        self.cgroup = str(spec.get("cgroup", ""))
        self.slot = str(spec.get("pipes", ""))
        self.begun_s = float(spec.get("begun_s", 0.0))
        self.lease_until_s = float(spec.get("lease_until_s") or INFINITY)
        self.recording: Recording | None = None
        self.over_at_s = INFINITY
        self.settled_bytes = 0
        self.printed_at_s = -INFINITY
        self.was_writing = False
        self.unwritten_bytes = 0
        self.rss_floor_bytes = 0
        self.pid = 0
        self.start = 0
        self.is_own = self.is_seen = True
        self.pidfd = -1
        self.is_settled = True
        self.deadline_s = INFINITY
        self.phase = RUNNING
        self.cause: str | None = None
        self.is_over = False
        self.is_ending = False
        self.due_s = INFINITY
        self.kill_at_s = self.give_up_at_s = INFINITY
        self.pause_s = FIRST_PAUSE_S
        self.status: int | None = None
        self.max_rss_bytes: int | None = None
        self.out_of_memory = False
        self.cpu_ms: int | None = None
        self.seen: dict[int, int] = {}
        self.leftovers: list[str] = []
        self.survivors: list[str] = []

    @property
    def ends_at_s(self) -> float:
        """When it is to be ended at the latest: at the end of its time, or of its lease."""
        return min(self.deadline_s, self.lease_until_s)

    @property
    def cause_of_ending(self) -> str:
        """Why it is ended at `ends_at_s`."""
        return "fenced" if self.lease_until_s < self.deadline_s else "timeout"

    def hold_until(self, until_s: float) -> None:
        """Its lease was renewed: it ends at this instant instead, if it has not begun to end."""
        self.lease_until_s = until_s
        if self.phase == RUNNING and not self.is_ending and self.is_settled:
            self.due_s = self.ends_at_s

    def enter(self, phase: str, now: float) -> None:
        """Go on to a phase and look again soon."""
        self.phase = phase
        self.pause_s = FIRST_PAUSE_S
        self.pause(now)

    def pause(self, now: float) -> None:
        """Look again after a pause, each longer than the one before; sooner where a deadline says so."""
        match self.phase:
            case "running":
                self.due_s = now + self.pause_s if self.is_ending else self.ends_at_s
            case "stopping":
                self.due_s = (
                    min(self.kill_at_s, now + self.pause_s) if self.is_over or self.is_ending else self.kill_at_s
                )
            case _:
                self.due_s = now + self.pause_s
        self.pause_s = min(self.pause_s * 1.5, LONGEST_PAUSE_S)

    def name_leftovers(self, members: list[Process]) -> None:
        """Remember what the leader left behind and what is ended for it, at most 100 of them."""
        named = set(self.leftovers)
        self.leftovers += [str(process) for process in members if str(process) not in named][: 100 - len(named)]

    def record_usage(self, status: int, usage: Any) -> None:
        """The leader was reaped: this is its status, and what it and its children have used."""
        self.status = status
        peak_bytes = int(usage.ru_maxrss) * _RSS_UNIT_BYTES
        self.max_rss_bytes = peak_bytes if peak_bytes > self.rss_floor_bytes else None
        self.cpu_ms = round((usage.ru_utime + usage.ru_stime) * 1000)

    def record_cgroup_usage(self, max_rss_bytes: int | None, cpu_ms: int | None, *, out_of_memory: bool) -> None:
        """What the whole tree has used, by its cgroup. None leaves what is known of the leader."""
        self.out_of_memory = out_of_memory
        self.max_rss_bytes = self.max_rss_bytes if max_rss_bytes is None else max_rss_bytes
        self.cpu_ms = self.cpu_ms if cpu_ms is None else cpu_ms

    def started(self, boot_id: str) -> dict[str, Any]:
        """The journal entry that identifies its leader."""
        entry = {"op": "started", "id": self.id, "pid": self.pid, "start": self.start, "boot": boot_id}
        return entry if self.deadline_s == INFINITY else {**entry, "deadline_s": self.deadline_s}

    def entries(self, boot_id: str) -> list[dict[str, Any]]:
        """The journal entries that describe it, for a journal that is written anew."""
        begin: dict[str, Any] = {"op": "begin", "id": self.id, "stdout": self.paths[0], "stderr": self.paths[1]}
        begin |= {"timeout_s": 0 if self.timeout_s == INFINITY else self.timeout_s, "grace_s": self.grace_s}
        begin |= {"max_output_bytes": self.max_output_bytes, "detach": self.detach, "mark": os.fsdecode(self.mark)}
        begin |= {"badge": self.badge, "cgroup": self.cgroup, "pipes": self.slot, "begun_s": self.begun_s}
        started = [self.started(boot_id)] if self.pid else []
        begin |= {} if self.lease_until_s == INFINITY else {"lease_until_s": self.lease_until_s}
        cause = [{"op": "cause", "id": self.id, "cause": self.cause}] if self.cause else []
        return [begin, *started, *cause]

    def exit(self) -> dict[str, Any]:
        """How it ended just now, as it is journaled and reported. What is not known is absent."""
        facts: dict[str, Any] = {"pid": self.pid, "ended_at_ms": time.time_ns() // 1_000_000}
        if self.status is not None:
            code = os.waitstatus_to_exitcode(self.status)
            facts |= {"code": code} if code >= 0 else {"signal": -code}
        if self.begun_s and (self.is_seen or self.status is not None):
            facts["duration_ms"] = round((now_s() - self.begun_s) * 1000)
        for name in _FACTS:
            if value := getattr(self, name):
                facts[name] = value
        if self.cpu_ms == 0:
            facts["cpu_ms"] = 0
        return facts
