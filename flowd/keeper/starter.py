"""Starts a step: checks its limits, journals that it begins, makes its cgroup and its environment, spawns it."""

from __future__ import annotations

import os

from flowd.keeper import argv_print
from flowd.keeper.capabilities import Capabilities, now_s
from flowd.keeper.identity import ABILITIES, asked
from flowd.keeper.journal import Journal
from flowd.keeper.limiter import Limiter
from flowd.keeper.proctree import MARK, Processes, new_badge
from flowd.keeper.refusal import RefusalError
from flowd.keeper.spawn import Spawner
from flowd.keeper.step import SPEC, Step, own_peak_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from flowd.keeper.cgroup import Cgroups
    from flowd.keeper.confinement import Confinement
    from flowd.keeper.recorder import Recorder
    from flowd.keeper.recording import Recording


class Starter:
    """Starts steps as the daemon requests.

    Attributes:
        base_env: The environment of steps, below what each request adds.
    """

    def __init__(
        self,
        can: Capabilities,
        processes: Processes,
        *,
        journal: Journal,
        spawner: Spawner,
        recorder: Recorder,
        cgroups: Cgroups | None,
    ) -> None:
        self._can = can
        self._processes = processes
        self._journal = journal
        self._spawner = spawner
        self._recorder = recorder
        self._cgroups = cgroups
        controllers = cgroups.controllers if cgroups else frozenset()
        self._limiter = Limiter(processes, controllers, may_clone=can.clone3)
        self.base_env: dict[str, str] = {}

    def start(self, request: dict[str, Any], stdin: bytes) -> Step:
        """Start a step. Its begin is journaled before its process exists; the caller journals that it has started.

        Raises:
            RefusalError: Nothing runs, and the journal says so.
        """
        if unknown := asked(request) - ABILITIES:
            raise RefusalError("unknown", ", ".join(sorted(unknown)))
        attempt_id = str(request["id"])
        spec = {name: request[name] for name in SPEC}
        spec["imprint"] = argv_print.imprint([*map(str, request["argv"])])
        spec["begun_s"] = now_s()
        if until_s := float(request.get("lease_until_s") or 0):
            if until_s <= spec["begun_s"]:  # the daemon was frozen, and another host may have the run by now
                raise RefusalError("lease", "")
            spec["lease_until_s"] = until_s
        spec["badge"] = new_badge() if self._can.badge else 0
        spec["cgroup"] = self._cgroups.new_path() if self._cgroups else ""
        plan = self._limiter.confine(request.get("limits") or {}, spec["cgroup"])
        spec["pipes"], outputs = self._recorder.take_slot() if self._can.pipes else ("", [])
        step = Step(attempt_id, spec)
        try:
            self._begin(step, spec)
            try:
                step.pid = self._spawn(step, request, stdin, outputs, plan)
            except RefusalError:
                self._journal.record({"op": "refused", "id": attempt_id})
                raise
        except BaseException:
            self._recorder.give_back(step)
            raise
        finally:
            for fd in outputs:
                os.close(fd)
        step.rss_floor_bytes = own_peak_bytes()
        step.start = self._processes.start_of(step.pid)
        step.deadline_s = now_s() + step.timeout_s
        step.due_s = step.ends_at_s
        return step

    def _begin(self, step: Step, spec: dict[str, Any]) -> None:
        if failure := self._journal.write_ahead({"op": "begin", "id": step.id, **spec}):
            raise RefusalError("journal", "keeper.journal", failure)
        if step.slot:
            self._recorder.begin(step)

    def _spawn(
        self, step: Step, request: dict[str, Any], stdin: bytes, outputs: list[int], plan: Confinement | None
    ) -> int:
        if plan is not None and step.cgroup:
            self._make_cgroup(step, plan)
        recording = step.recording
        try:
            return self._spawner.spawn(
                [*map(str, request["argv"])],
                cwd=str(request["cwd"]),
                env=self._environment(request),
                stdin=stdin,
                stdout=step.paths[0],
                stderr=step.paths[1],
                recording=None if recording is None else (lambda: _begin(recording), outputs),
                badge=step.badge,
                plan=plan,
            )
        except BaseException:
            if recording is not None:
                recording.undo_begin()
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


def _begin(recording: Recording) -> None:
    try:
        recording.begin()
    except OSError as error:
        raise RefusalError(recording.stream_of(error.filename), str(error.filename), error) from None
