"""Runs as people and programs see them."""

from dataclasses import replace

from flowd.domain.flow import Flow
from flowd.domain.hosts import Able, Unserved
from flowd.domain.masking import masked_run
from flowd.domain.queue_view import StepQueue
from flowd.domain.redaction import Redactor
from flowd.domain.run import ProcessStatus, Run
from flowd.domain.step import Step
from flowd.domain.waiting import HostWait, PackageWait, PlaceWait, TimeWait
from flowd.engine.served import Served
from flowd.engine.steps_in_force import StepsInForce
from flowd.ports import Clock

MIN_STEP_MS = 1_000
"""Clocks that go apart by less are slewed, and not set."""


class Showing:
    """Shows runs: with secrets masked, and with what the store does not know of why they wait."""

    def __init__(self, *, redactor: Redactor, steps: StepsInForce, clock: Clock, served: Served | None = None) -> None:
        """``served``: what the hosts of a shared store can run; None where there is this one alone."""
        self._redactor = redactor
        self._clock = clock
        self._steps = steps
        self._served = served

    def able(self, flow: Flow, step: Step) -> Able:
        """Who can run a step."""
        return self._able(flow.name, step.name, self._steps.lacks(step))

    def unserved(self, run: Run) -> Able | None:
        """Who could run a queued run that no host starts just now; None of all others."""
        if not _is_ready(run) and not isinstance(run.waiting_for, PackageWait | HostWait):
            return None
        lacked = self._steps.lacked(run.flow_name, run.step_name)
        able = self._able(run.flow_name, run.step_name, lacked, run.bound_to)
        required = self._steps.required(run.flow_name, run.step_name)
        return able._replace(required=required) if able.unserved is not None else None

    def why_unserved(self, queue: StepQueue) -> Unserved | None:
        """Why no host starts these runs; None where one does."""
        lacked = self._steps.lacked(queue.flow_name, queue.step_name)
        why = self._able(queue.flow_name, queue.step_name, lacked, queue.bound_to).unserved
        return Unserved.PACKAGE if why is None and queue.is_missing else why

    def _able(self, flow_name: str, step_name: str, lacked: list[str], bound_to: str | None = None) -> Able:
        if self._served is None:
            return Able(lacked, int(not lacked))
        names = self._served.names(flow_name, step_name)
        return Able(
            lacked,
            self._served.count(flow_name, step_name, bound_to),
            self._served.is_draining(flow_name, step_name, bound_to),
            names if bound_to is None else tuple(name for name in names if name == bound_to),
            bound_to,
        )

    def run(self, run: Run) -> Run:
        """The run as it may be seen."""
        if isinstance(run.waiting_for, TimeWait):
            run = replace(run, waiting_for=self._by_wall_clock(run.waiting_for))
        elif isinstance(run.waiting_for, PackageWait):
            labels = self._steps.lacking(run.flow_name, run.step_name)
            if labels:
                run = replace(run, waiting_for=HostWait(labels))
        elif (
            self._served is not None
            and _is_ready(run)
            and self._served.count(run.flow_name, run.step_name, run.bound_to) == 0
        ):
            labels = self._steps.required(run.flow_name, run.step_name)
            run = replace(run, waiting_for=HostWait(labels, name=run.bound_to))
        return masked_run(run, self._redactor)

    def _by_wall_clock(self, wait: TimeWait) -> TimeWait:
        """When it ends as people read it. The store's own clock, where hosts share it, is that already."""
        if wait.why == "notBefore" or self._served is not None:
            return wait
        step_ms = self._clock.now_ms() - self._clock.steady_ms()
        return wait if abs(step_ms) < MIN_STEP_MS else replace(wait, until_ms=wait.until_ms + step_ms)


def _is_ready(run: Run) -> bool:
    return run.status is ProcessStatus.QUEUED and (run.waiting_for is None or isinstance(run.waiting_for, PlaceWait))
