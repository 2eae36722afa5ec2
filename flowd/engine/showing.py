"""Runs as people and programs see them."""

from dataclasses import replace

from flowd.domain.flow import Step
from flowd.domain.masking import masked_run
from flowd.domain.redaction import Redactor
from flowd.domain.run import Run
from flowd.domain.waiting import HostWait, PackageWait
from flowd.engine.steps_in_force import StepsInForce


class Showing:
    """Shows runs: with secrets masked, and with what the store does not know of why they wait."""

    def __init__(self, *, redactor: Redactor, steps: StepsInForce) -> None:
        self._redactor = redactor
        self._steps = steps

    def lacks(self, step: Step) -> list[str]:
        """The labels that a step requires and this host does not have."""
        return self._steps.lacks(step)

    def run(self, run: Run) -> Run:
        """The run as it may be seen."""
        if isinstance(run.waiting_for, PackageWait):
            labels = self._steps.lacking(run.flow_name, run.step_name)
            if labels:
                run = replace(run, waiting_for=HostWait(labels))
        return masked_run(run, self._redactor)
