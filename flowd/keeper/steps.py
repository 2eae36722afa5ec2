"""Starts, watches, ends and reaps all steps of a keeper. Nothing blocks: one step never delays another.

The order at a leader's end is the point of this module. While the leader is a zombie, its pid, group and session belong
to no other process, so what it left behind is found and ended first; only then is it reaped, journaled and reported.
"""

from __future__ import annotations

import os
import signal

from flowd.keeper import output_limit
from flowd.keeper.capabilities import Capabilities, now_s
from flowd.keeper.journal import Journal
from flowd.keeper.leaders import Leaders
from flowd.keeper.proctree import Processes
from flowd.keeper.refusal import RefusalError
from flowd.keeper.spawn import Spawner
from flowd.keeper.starter import Starter
from flowd.keeper.step import INFINITY, KILLING, QUIET_S, RUNNING, SETTLE_S, SETTLING, STOPPING, Step
from flowd.keeper.step_processes import StepProcesses

TYPE_CHECKING = False
if TYPE_CHECKING:
    import select
    from collections.abc import Callable, Iterable
    from typing import Any

    from flowd.keeper.cgroup import Cgroups
    from flowd.keeper.recorder import Recorder

LEFTOVER_GRACE_S = 2.0
GIVE_UP_S = 5.0
"""After this long, only uninterruptible I/O explains a process that outlives SIGKILL."""
STEPS_PER_TICK = 250
"""With more of them, sizes are looked at less often, so that a thousand sleeping steps cost 0.5 % of a processor."""


class Steps:
    """The steps of a keeper: those that run, and those that have ended and are not forgotten."""

    def __init__(
        self,
        can: Capabilities,
        processes: Processes,
        *,
        journal: Journal,
        spawner: Spawner,
        recorder: Recorder,
        poll: select.poll,
        boot_id: str,
        report: Callable[[dict[str, Any]], None],
        cgroups: Cgroups | None = None,
    ) -> None:
        self._journal = journal
        self._poll = poll
        self._boot_id = boot_id
        self._report = report
        self._cgroups = cgroups
        self._recorder = recorder
        self._next_tick_s = 0.0
        self.active: dict[str, Step] = {}
        self.ended: dict[str, dict[str, Any]] = {}
        self.is_ending = False
        self.starter = Starter(can, processes, journal=journal, spawner=spawner, recorder=recorder, cgroups=cgroups)
        self.leaders = Leaders(can, processes)
        self.step_processes = StepProcesses(
            can, processes, self.active, self.leaders.own, cgroups, spared_pid=lambda: recorder.standby.pid
        )

    # --- what the daemon asks for

    def start(self, request: dict[str, Any], stdin: bytes) -> None:
        """Start a step, once: a second request for the same attempt reports what has become of it."""
        attempt_id = str(request["id"])
        if attempt_id in self.active or attempt_id in self.ended:
            self._report_again(attempt_id)
            return
        try:
            if self.is_ending:
                raise RefusalError("ending", "")
            step = self.starter.start(request, stdin)
        except RefusalError as refusal:
            self._report({"op": "refused", "id": attempt_id, **refusal.facts})
            return
        self.active[attempt_id] = self.leaders.own[step.pid] = step
        self._journal.record(step.started(self._boot_id))
        self._report({"op": "started", "id": attempt_id, "pid": step.pid, "start": step.start})

    def stop(self, attempt_id: str, cause: str | None, grace_s: float) -> None:
        """End a step and everything of it. The first cause stays; a later stop can only shorten the grace."""
        step = self.active.get(attempt_id)
        if step is None or step.phase == KILLING:
            return
        self.notice_end(step)
        now = now_s()
        if not step.is_over and step.cause is None and cause is not None:
            step.cause = cause
            self._journal.record({"op": "cause", "id": step.id, "cause": cause})
        if attempt_id not in self.active:
            return
        if step.phase != STOPPING and not step.is_over:
            if grace_s > 0:
                self.step_processes.signal(step, signal.SIGTERM)
            step.kill_at_s = INFINITY
            step.enter(STOPPING, now)
        step.kill_at_s = min(step.kill_at_s, now + max(0.0, grace_s), step.lease_until_s + step.grace_s)
        step.due_s = min(step.due_s, step.kill_at_s)

    def lease(self, until_s: dict[str, float]) -> None:
        """Have each of these end at its instant, on the clock of `now_s`, with the cause ``fenced``, whatever becomes
        of the daemon, unless another lease comes before. Those that do not run are left out."""
        held = {attempt_id: float(at_s) for attempt_id, at_s in until_s.items() if attempt_id in self.active}
        for attempt_id, at_s in held.items():
            self.active[attempt_id].hold_until(at_s)
        if held:
            self._journal.record({"op": "lease", "until_s": held})
            self._journal.compact(self.entries())

    def is_leased(self) -> bool:
        """Whether one of them has a lease, which says how long it runs without a daemon."""
        return any(step.lease_until_s < INFINITY for step in self.active.values())

    def forget(self, attempt_ids: list[str]) -> None:
        """Forget attempts whose exits the daemon has on disk."""
        known = [attempt_id for attempt_id in attempt_ids if self.ended.pop(attempt_id, None) is not None]
        if known:
            self._journal.record({"op": "forget", "ids": known})
            self._journal.compact(self.entries() if self.active or self.ended else [])

    def end_all(self, cause: str | None = None) -> None:
        """End every step with its own grace, and start no more."""
        self.is_ending = True
        for step in list(self.active.values()):
            self.stop(step.id, cause, step.grace_s)

    def records(self) -> list[dict[str, Any]]:
        """All attempts that are known: those that run, and those that have ended and were not forgotten."""
        running = [
            {"id": step.id, "state": "running", "pid": step.pid, "start": step.start} for step in self.active.values()
        ]
        return running + [{"id": attempt_id, "state": "exited", **exit_} for attempt_id, exit_ in self.ended.items()]

    def entries(self) -> list[dict[str, Any]]:
        """The journal entries that say the same as `records`."""
        lines: list[dict[str, Any]] = []
        for attempt_id, exit_ in self.ended.items():
            lines += [{"op": "begin", "id": attempt_id}, {"op": "exit", "id": attempt_id, **exit_}]
        for step in self.active.values():
            lines += step.entries(self._boot_id)
        return lines

    # --- what happens by itself

    def wake_at_s(self) -> float:
        """When `advance` has something to do next, on the clock of `now_s`."""
        if not self.active:
            return INFINITY
        return min(self._next_tick_s, *(step.due_s for step in self.active.values()))

    def reap(self) -> None:
        """Some children have ended: notice the leaders among them, and reap the orphans."""
        if self._recorder.standby.has_died():
            self._recorder.look_after_standby()
        if not self._notice_ends(list(self.leaders.own.values())):
            self.step_processes.reap()
            self.step_processes.new_turn()
        for step in [step for step in self.leaders.own.values() if step.is_over]:
            if step.id in self.active and not self.step_processes.has_any(step):
                self._finish(step)

    def on_output(self, fd: int, event: int) -> None:
        """A pipe has something to record."""
        grown = self._recorder.on_ready(fd, event)
        if any(recording.is_over_limit for recording in grown):
            for step in [step for step in self.active.values() if self._is_cut(step)]:
                self._check_output(step)

    def on_pidfd(self, pidfd: int) -> None:
        """The leader behind this pidfd has ended; its parent may take a moment to reap it."""
        for step in self.active.values():
            if step.pidfd == pidfd:
                self._poll.unregister(pidfd)
                step.is_ending = True
                step.due_s = 0.0

    def advance(self) -> None:
        """Do what is due."""
        now = now_s()
        self.step_processes.new_turn()
        is_tick = now >= self._next_tick_s
        if is_tick:
            self._next_tick_s = now + output_limit.TICK_S * max(1.0, len(self.active) / STEPS_PER_TICK)
            self._recorder.retry()
        settled = [step for step in self.active.values() if step.is_settled]
        self._notice_ends(
            step for step in settled if now >= step.due_s or (is_tick and not step.is_own and step.pidfd < 0)
        )
        for step in settled:
            if is_tick and step.recording is None and step.id in self.active:
                self._check_output(step)
            if now >= step.due_s and step.id in self.active:
                self._advance(step, now)

    def settle(self, step: Step) -> None:
        """Watch an adopted step from now on, and go on with its end where the last keeper was."""
        step.is_settled = True
        if step.pidfd >= 0:
            self._poll.register(step.pidfd, 1)  # POLLIN
        step.pause(now_s())
        self.notice_end(step)
        if step.cause and step.id in self.active and not step.is_over:
            self.step_processes.signal(step, signal.SIGTERM)
            step.kill_at_s = min(now_s(), step.lease_until_s) + step.grace_s
            step.enter(STOPPING, now_s())

    def notice_end(self, step: Step) -> None:
        """Look whether the leader has ended."""
        self._notice_ends([step])

    # --- inside

    def _report_again(self, attempt_id: str) -> None:
        if step := self.active.get(attempt_id):
            self._report({"op": "started", "id": attempt_id, "pid": step.pid, "start": step.start})
            return
        exit_ = self.ended[attempt_id]
        self._report({"op": "started", "id": attempt_id, "pid": exit_["pid"], "start": 0})
        self._report({"op": "exited", "id": attempt_id, **exit_})

    def _notice_ends(self, steps: Iterable[Step]) -> bool:
        """Look whether any of these leaders have ended. Orphans and processes are looked at once for all that have."""
        over = [step for step in steps if not step.is_over and self.leaders.has_ended(step)]
        if over:
            self.step_processes.reap()
            self.step_processes.new_turn()  # a table from before a leader's end could lack its last child
        for step in over:
            self._on_over(step)
        return bool(over)

    def _check_output(self, step: Step) -> None:
        if step.is_over:
            return
        size = step.recording.printed_bytes if step.recording else output_limit.size_bytes(step.paths)
        if size > step.max_output_bytes and step.phase == RUNNING:
            self.stop(step.id, "output_limit", step.grace_s)
        elif step.cause == "output_limit" and output_limit.is_flood(size, step.max_output_bytes):
            self.stop(step.id, None, 0)

    def _on_over(self, step: Step) -> None:
        step.is_over = True
        step.over_at_s = now = now_s()
        if not self.step_processes.has_any(step):
            self._finish(step)
        elif step.phase != RUNNING:
            step.enter(step.phase, now)
        elif step.detach:
            self.step_processes.disown(step)
            self._finish(step)
        else:
            step.settled_bytes = self._printed_bytes(step)
            step.kill_at_s = now + SETTLE_S
            step.enter(SETTLING, now)

    def _advance(self, step: Step, now: float) -> None:
        if step.is_own and not step.is_over and step.phase == RUNNING:
            self.stop(step.id, step.cause_of_ending, step.grace_s)
            return
        self.notice_end(step)
        if step.id not in self.active:
            return
        if step.is_over and not self.step_processes.has_any(step):
            self._finish(step)
            return
        if step.phase == SETTLING:
            self._look_at_output(step, now)
        match step.phase:
            case "running" if now >= step.ends_at_s:
                self.stop(step.id, step.cause_of_ending, step.grace_s)
            case "settling" if now >= step.kill_at_s and not self._may_begin_to_print(step, now):
                step.was_writing = step.printed_at_s + QUIET_S > now
                step.name_leftovers(self.step_processes.of(step))
                self.step_processes.signal(step, signal.SIGTERM)
                step.kill_at_s = now + min(step.grace_s, LEFTOVER_GRACE_S)
                step.enter(STOPPING, now)
            case "stopping" if now >= step.kill_at_s:
                if step.is_over:
                    step.name_leftovers(self.step_processes.of(step))
                step.give_up_at_s = now + GIVE_UP_S
                self.step_processes.signal(step, signal.SIGKILL)
                step.enter(KILLING, now)
            case "killing":
                self.step_processes.signal(step, signal.SIGKILL)
                self._give_up(step) if now >= step.give_up_at_s else step.pause(now)
            case _:
                step.pause(now)

    def _look_at_output(self, step: Step, now: float) -> None:
        """Give what a leader left behind, such as `> >(cat)`, more time where it has printed since we looked."""
        printed_bytes = self._printed_bytes(step)
        if printed_bytes > step.settled_bytes:
            step.settled_bytes, step.printed_at_s = printed_bytes, now
            step.kill_at_s = min(now + QUIET_S, step.over_at_s + max(step.grace_s, SETTLE_S))

    def _may_begin_to_print(self, step: Step, now: float) -> bool:
        """Whether something may be a filter that has not come to print yet."""
        has_time = now < step.over_at_s + min(QUIET_S, step.grace_s)
        return has_time and step.printed_at_s < step.over_at_s and self.step_processes.has_filter(step)

    def _printed_bytes(self, step: Step) -> int:
        if step.recording:
            self._recorder.drain_now(step.recording)
            return step.recording.total_bytes
        return output_limit.total_bytes(step.paths)

    def _is_cut(self, step: Step) -> bool:
        return step.recording is not None and step.recording.is_over_limit

    def _is_cut_at_end(self, step: Step) -> bool:
        """Whether it printed more than its files hold; those that it wrote by itself are cut here."""
        if step.recording:
            return step.recording.is_over_limit
        return output_limit.cut(step.paths, step.max_output_bytes)

    def _give_up(self, step: Step) -> None:
        step.survivors = [str(process) for process in self.step_processes.of(step)]
        self.step_processes.disown(step)
        self._finish(step)

    def _finish(self, step: Step) -> None:
        if step.is_own:
            self.leaders.reap(step)
        if step.pidfd >= 0:
            if not step.is_ending:
                self._poll.unregister(step.pidfd)
            os.close(step.pidfd)
        if step.cgroup and self._cgroups:
            peak_bytes, cpu_ms = self._cgroups.usage(step.cgroup)
            step.record_cgroup_usage(peak_bytes, cpu_ms, out_of_memory=self._cgroups.had_oom_kill(step.cgroup))
            self._cgroups.remove(step.cgroup)
        if step.recording:
            is_clean = not (step.detach or step.survivors)
            step.unwritten_bytes = self._recorder.end(step.recording, is_clean=is_clean)
        if self._is_cut_at_end(step) and step.cause is None:
            step.cause = "output_limit"
        exit_ = step.exit()
        self._journal.record({"op": "exit", "id": step.id, **exit_})
        del self.active[step.id]
        self.ended[step.id] = exit_
        self._report({"op": "exited", "id": step.id, **exit_})
