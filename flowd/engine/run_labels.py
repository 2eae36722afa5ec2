"""The labels that the runs of an event are made with: as the packages in force declare them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from flowd.domain import labels
from flowd.domain.flow import Snapshot
from flowd.domain.queueing import NewRun


def give(runs: Sequence[NewRun], event: Mapping[str, object], snapshot: Snapshot) -> tuple[NewRun, ...]:
    """The runs with their labels; as they are where no step of the snapshot declares any.

    Args:
        event: The normalised event that they are made for.
    """
    return tuple(_given(run, event, snapshot) for run in runs) if snapshot.has_labels else tuple(runs)


def _given(run: NewRun, event: Mapping[str, object], snapshot: Snapshot) -> NewRun:
    flow = snapshot.by_name.get(run.definition.flow_name)
    step = flow.step(run.definition.step_name) if flow else None
    return replace(run, labels=labels.of_event(step.labels, event)) if step and step.labels else run
