"""The definitions that runs start with: those in force when they start."""

from flowd.domain import definition as definitions
from flowd.domain.definition import Definition
from flowd.domain.flow import Flow
from flowd.domain.hosts import missing
from flowd.domain.step import Step
from flowd.ports import Catalog

_KEPT = 10_000
"""Definitions that are kept ready: of packages that were edited as often. The rest is a lookup away."""


class StepsInForce:
    """Definitions of the catalog's steps. May be asked in any thread: a snapshot never changes."""

    def __init__(self, catalog: Catalog, labels: frozenset[str] = frozenset()) -> None:
        """``labels`` are this host's."""
        self._catalog = catalog
        self._labels = labels
        self._kept: dict[tuple[str, str, str], Definition] = {}

    def definition(self, flow_name: str, step_name: str) -> Definition | None:
        """The step's definition in force, the last good one of a package that was broken since; None where there is
        none."""
        flow, step = self._find(flow_name, step_name)
        return self.of(flow, step) if flow and step else None

    def startable(self, flow_name: str, step_name: str) -> Definition | None:
        """The same for a step that this host can run; None for others, too."""
        flow, step = self._find(flow_name, step_name)
        return self.of(flow, step) if flow and step and self._labels.issuperset(step.runs_on) else None

    def lacking(self, flow_name: str, step_name: str) -> tuple[str, ...]:
        """All labels that the step in force requires, where this host has not all of them; else none."""
        _, step = self._find(flow_name, step_name)
        return step.runs_on if step and self.lacks(step) else ()

    def lacked(self, flow_name: str, step_name: str) -> list[str]:
        """The labels that the step in force requires and this host does not have."""
        _, step = self._find(flow_name, step_name)
        return self.lacks(step) if step and step.runs_on else []

    def required(self, flow_name: str, step_name: str) -> tuple[str, ...]:
        """All labels that the step in force requires; none where it is in no package here."""
        _, step = self._find(flow_name, step_name)
        return step.runs_on if step else ()

    def lacks(self, step: Step) -> list[str]:
        """The labels that a step requires and this host does not have."""
        return missing(step.runs_on, self._labels)

    def _find(self, flow_name: str, step_name: str) -> tuple[Flow | None, Step | None]:
        flow = self._catalog.snapshot.by_name.get(flow_name)
        return flow, flow.step(step_name) if flow else None

    def is_broken(self, flow_name: str) -> bool:
        """Whether there is a package of this name that cannot be used as it is, so that nobody knows its steps."""
        return any(package.name == flow_name for package in self._catalog.snapshot.broken)

    def of(self, flow: Flow, step: Step) -> Definition:
        """The definition of a step as this flow has it."""
        key = flow.root, flow.package_hash, step.name
        kept = self._kept.get(key)
        if kept is None:
            if len(self._kept) > _KEPT:
                self._kept.clear()
            kept = self._kept[key] = definitions.of(flow, step)
        return kept
