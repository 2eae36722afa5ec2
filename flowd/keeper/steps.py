"""All steps under the keeper: started, watched, ended, swept, reaped. Nothing blocks: one step never delays another.

The order at a leader's end is the point of this module. While the leader is a zombie, its pid, group and session belong
to nobody else, so what it left behind is found and ended first; only then is it reaped, journaled and told.
"""

from __future__ import annotations

import os
import signal

from flowd.keeper import argv_print
from flowd.keeper.capabilities import Capabilities, now_s
from flowd.keeper.journal import Journal
from flowd.keeper.leaders import Leaders
from flowd.keeper.limiter import Limiter
from flowd.keeper.proctree import MARK, Processes, new_badge
from flowd.keeper.refusal import RefusalError
from flowd.keeper.spawn import Spawner
from flowd.keeper.step import INFINITY, KILLING, RUNNING, SETTLING, SPEC, STOPPING, Step, own_peak_bytes
from flowd.keeper.step_processes import StepProcesses

TYPE_CHECKING = False
if TYPE_CHECKING:
    import select
    from collections.abc import Callable, Iterable
    from typing import Any

    from flowd.keeper.cgroup import Cgroups
    from flowd.keeper.confinement import Confinement

SETTLE_S = 0.1
"""What ends together with its leader, such as `> >(tee log)`, is not cut short and is no leftover."""
LEFTOVER_GRACE_S = 2.0
GIVE_UP_S = 5.0
"""After this long, only uninterruptible I/O explains a process that outlives SIGKILL."""
TICK_S = 0.25
"""How often output sizes are looked at. A step that writes as fast as it can fills about 0.5 GB meanwhile."""
STEPS_PER_TICK = 250
"""With more of them, sizes are looked at less often, so that a thousand sleeping steps cost 0.5 % of a processor."""
FLOOD_FACTOR = 4
"""A step that goes on writing while it is being ended for its output gets no grace beyond this many times the limit."""


class Steps:
    """What the keeper is for."""

    def __init__(
        self,
        can: Capabilities,
        processes: Processes,
        *,
        journal: Journal,
        spawner: Spawner,
        poll: select.poll,
        boot_id: str,
        tell: Callable[[dict[str, Any]], None],
        cgroups: Cgroups | None = None,
    ) -> None:
        self._can = can
        self._processes = processes
        self._journal = journal
        self._spawner = spawner
        self._poll = poll
        self._boot_id = boot_id
        self._tell = tell
        self._cgroups = cgroups
        controllers = cgroups.controllers if cgroups else frozenset()
        self._limiter = Limiter(processes, controllers, may_clone=can.clone3)
        self._next_tick_s = 0.0
        self.base_env: dict[str, str] = {}
        self.active: dict[str, Step] = {}
        self.ended: dict[str, dict[str, Any]] = {}
        self.is_ending = False
        self.leaders = Leaders(can, processes)
        self.offspring = StepProcesses(can, processes, self.active, self.leaders.own, cgroups)

    # --- what the daemon asks for

    def start(self, request: dict[str, Any], stdin: bytes) -> None:
        """Start a step, once: asking again tells what has become of it."""
        attempt_id = str(request["id"])
        if attempt_id in self.active or attempt_id in self.ended:
            self._tell_again(attempt_id)
            return
        spec = {name: request[name] for name in SPEC}
        spec["imprint"] = argv_print.imprint([*map(str, request["argv"])])
        spec["badge"] = new_badge() if self._can.badge else 0
        spec["cgroup"] = self._cgroups.new_path() if self._cgroups else ""
        step = Step(attempt_id, spec)
        try:
            plan = self._limiter.confine(request.get("limits") or {}, step.cgroup)
            self._begin(attempt_id, spec)
            step.pid = self._spawn(step, request, stdin, plan)
        except RefusalError as refusal:
            if refusal.facts["what"] not in ("journal", "ending"):
                self._journal.note({"op": "refused", "id": attempt_id})
            self._tell({"op": "refused", "id": attempt_id, **refusal.facts})
            return
        step.rss_floor_bytes = own_peak_bytes()
        step.start = self._processes.start_of(step.pid)
        step.deadline_s = step.due_s = now_s() + step.timeout_s
        self.active[attempt_id] = self.leaders.own[step.pid] = step
        self._journal.note(step.started(self._boot_id))
        self._tell({"op": "started", "id": attempt_id, "pid": step.pid, "start": step.start})

    def stop(self, attempt_id: str, cause: str | None, grace_s: float) -> None:
        """End a step and everything of it. The first cause stays; a later stop can only shorten the grace."""
        step = self.active.get(attempt_id)
        if step is None or step.phase == KILLING:
            return
        self.notice_end(step)
        now = now_s()
        if not step.is_over and step.cause is None and cause is not None:
            step.cause = cause
            self._journal.note({"op": "cause", "id": step.id, "cause": cause})
        if attempt_id not in self.active:
            return
        if step.phase != STOPPING and not step.is_over:
            if grace_s > 0:
                self.offspring.signal(step, signal.SIGTERM)
            step.kill_at_s = INFINITY
            step.enter(STOPPING, now)
        step.kill_at_s = min(step.kill_at_s, now + max(0.0, grace_s))
        step.due_s = min(step.due_s, step.kill_at_s)

    def forget(self, attempt_ids: list[str]) -> None:
        """The daemon has these exits on disk."""
        known = [attempt_id for attempt_id in attempt_ids if self.ended.pop(attempt_id, None) is not None]
        if known:
            self._journal.note({"op": "forget", "ids": known})
            self._journal.compact(self.entries() if self.active or self.ended else [])

    def end_all(self, cause: str | None = None) -> None:
        """End every step with its own grace, and start no more."""
        self.is_ending = True
        for step in list(self.active.values()):
            self.stop(step.id, cause, step.grace_s)

    def records(self) -> list[dict[str, Any]]:
        """Everything that is known: what runs, and what ended and was not forgotten."""
        running = [
            {"id": step.id, "state": "running", "pid": step.pid, "start": step.start} for step in self.active.values()
        ]
        return running + [{"id": attempt_id, "state": "exited", **exit_} for attempt_id, exit_ in self.ended.items()]

    def entries(self) -> list[dict[str, Any]]:
        """The same as journal entries."""
        lines: list[dict[str, Any]] = []
        for attempt_id, exit_ in self.ended.items():
            lines += [{"op": "begin", "id": attempt_id}, {"op": "exit", "id": attempt_id, **exit_}]
        for step in self.active.values():
            lines += step.entries(self._boot_id)
        return lines

    # --- what happens by itself

    def wake_at_s(self) -> float:
        """When `advance` has something to do next."""
        if not self.active:
            return INFINITY
        return min(self._next_tick_s, *(step.due_s for step in self.active.values()))

    def reap(self) -> None:
        """Children have ended: take note of leaders, reap orphans."""
        if not self._notice_ends(list(self.leaders.own.values())):
            self.offspring.reap()
            self.offspring.new_turn()
        for step in [step for step in self.leaders.own.values() if step.is_over]:
            if step.id in self.active and not self.offspring.has_any(step):
                self._finish(step)

    def on_pidfd(self, pidfd: int) -> None:
        """An adopted leader has ended; it may take a moment until its new parent has reaped it."""
        self._poll.unregister(pidfd)
        for step in self.active.values():
            if step.pidfd == pidfd:
                step.is_ending = True
                step.due_s = 0.0

    def advance(self) -> None:
        """Do what is due."""
        now = now_s()
        self.offspring.new_turn()
        is_tick = now >= self._next_tick_s
        if is_tick:
            self._next_tick_s = now + TICK_S * max(1.0, len(self.active) / STEPS_PER_TICK)
        settled = [step for step in self.active.values() if step.is_settled]
        self._notice_ends(
            step for step in settled if now >= step.due_s or (is_tick and not step.is_own and step.pidfd < 0)
        )
        for step in settled:
            if is_tick and step.id in self.active:
                self._tick(step)
            if now >= step.due_s and step.id in self.active:
                self._advance(step, now)

    def settle(self, step: Step) -> None:
        """An adopted step: watch it, time it, and take up again where the last keeper was."""
        step.is_settled = True
        if step.pidfd >= 0:
            self._poll.register(step.pidfd, 1)  # POLLIN
        step.pause(now_s())
        self.notice_end(step)
        if step.cause and step.id in self.active and not step.is_over:
            self.offspring.signal(step, signal.SIGTERM)
            step.kill_at_s = now_s() + step.grace_s
            step.enter(STOPPING, now_s())

    def notice_end(self, step: Step) -> None:
        """Look whether the leader has ended."""
        self._notice_ends([step])

    # --- inside

    def _begin(self, attempt_id: str, spec: dict[str, Any]) -> None:
        if self.is_ending:
            raise RefusalError("ending", "")
        if failure := self._journal.intend({"op": "begin", "id": attempt_id, **spec}):
            raise RefusalError("journal", "keeper.journal", failure)

    def _spawn(self, step: Step, request: dict[str, Any], stdin: bytes, plan: Confinement | None) -> int:
        if plan is not None and step.cgroup:
            self._make_cgroup(step, plan)
        try:
            return self._spawner.spawn(
                [*map(str, request["argv"])],
                cwd=str(request["cwd"]),
                env=self._environment(request),
                stdin=stdin,
                stdout=step.paths[0],
                stderr=step.paths[1],
                badge=step.badge,
                plan=plan,
            )
        except BaseException:
            if step.cgroup and self._cgroups:
                self._cgroups.remove(step.cgroup)
            raise

    def _make_cgroup(self, step: Step, plan: Confinement) -> None:
        """Make the step's cgroup; without it, it is supervised as on a machine that has none."""
        try:
            if self._cgroups:
                self._cgroups.make(step.cgroup, plan.values)
        except OSError as error:
            if plan.values:
                raise RefusalError("limit", "cgroup", error) from None
            step.cgroup = plan.cgroup = ""

    def _environment(self, request: dict[str, Any]) -> dict[str, str]:
        env = dict(self.base_env)
        for name, value in request["env"].items():
            if value is None:
                env.pop(name, None)
            else:
                env[name] = str(value)
        outer = self.base_env.get(MARK)
        env[MARK] = f"{outer},{request['mark']}" if outer else request["mark"]
        return env

    def _tell_again(self, attempt_id: str) -> None:
        if step := self.active.get(attempt_id):
            self._tell({"op": "started", "id": attempt_id, "pid": step.pid, "start": step.start})
            return
        exit_ = self.ended[attempt_id]
        self._tell({"op": "started", "id": attempt_id, "pid": exit_["pid"], "start": 0})
        self._tell({"op": "exited", "id": attempt_id, **exit_})

    def _notice_ends(self, steps: Iterable[Step]) -> bool:
        """Whether leaders have ended. However many have, orphans and processes are looked at once for all."""
        over = [step for step in steps if not step.is_over and self.leaders.has_ended(step)]
        if over:
            self.offspring.reap()
            self.offspring.new_turn()  # a table from before a leader's end could lack its last child
        for step in over:
            self._on_over(step)
        return bool(over)

    def _tick(self, step: Step) -> None:
        if step.is_over:
            return
        size = step.output_bytes()
        if size > step.max_output_bytes and step.phase == RUNNING:
            self.stop(step.id, "output_limit", step.grace_s)
        elif size > step.max_output_bytes * FLOOD_FACTOR and step.cause == "output_limit":
            self.stop(step.id, None, 0)

    def _on_over(self, step: Step) -> None:
        step.is_over = True
        now = now_s()
        if not self.offspring.has_any(step):
            self._finish(step)
        elif step.phase != RUNNING:
            step.enter(step.phase, now)
        elif step.detach:
            self.offspring.let_go(step)
            self._finish(step)
        else:
            step.kill_at_s = now + SETTLE_S
            step.enter(SETTLING, now)

    def _advance(self, step: Step, now: float) -> None:
        if step.is_own and not step.is_over and step.phase == RUNNING:
            self.stop(step.id, "timeout", step.grace_s)
            return
        self.notice_end(step)
        if step.id not in self.active:
            return
        if step.is_over and not self.offspring.has_any(step):
            self._finish(step)
            return
        match step.phase:
            case "running" if now >= step.deadline_s:
                self.stop(step.id, "timeout", step.grace_s)
            case "settling" if now >= step.kill_at_s:
                step.name_leftovers(self.offspring.of(step))
                self.offspring.signal(step, signal.SIGTERM)
                step.kill_at_s = now + min(step.grace_s, LEFTOVER_GRACE_S)
                step.enter(STOPPING, now)
            case "stopping" if now >= step.kill_at_s:
                if step.is_over:
                    step.name_leftovers(self.offspring.of(step))
                step.give_up_at_s = now + GIVE_UP_S
                self.offspring.signal(step, signal.SIGKILL)
                step.enter(KILLING, now)
            case "killing":
                self.offspring.signal(step, signal.SIGKILL)
                self._give_up(step) if now >= step.give_up_at_s else step.pause(now)
            case _:
                step.pause(now)

    def _give_up(self, step: Step) -> None:
        step.survivors = [str(process) for process in self.offspring.of(step)]
        self.offspring.let_go(step)
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
            step.spent_by_all(peak_bytes, cpu_ms, out_of_memory=self._cgroups.had_oom_kill(step.cgroup))
            self._cgroups.remove(step.cgroup)
        if step.cut_output() and step.cause is None:
            step.cause = "output_limit"
        exit_ = step.exit()
        self._journal.note({"op": "exit", "id": step.id, **exit_})
        del self.active[step.id]
        self.ended[step.id] = exit_
        self._tell({"op": "exited", "id": step.id, **exit_})
