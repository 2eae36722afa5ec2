"""The definitions that runs start with: those in force when they start."""

from flowd.domain import definition as definitions
from flowd.domain.definition import Definition
from flowd.domain.flow import Flow, Step
from flowd.ports import Catalog

_KEPT = 10_000
"""Definitions that are kept ready: of packages that were edited as often. The rest is a lookup away."""


class StepsInForce:
    """Definitions of the catalog's steps. May be asked in any thread: a snapshot never changes."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._kept: dict[tuple[str, str, str], Definition] = {}

    def definition(self, flow_name: str, step_name: str) -> Definition | None:
        """The step's definition in force, the last good one of a package that was broken since; None where there is
        none."""
        flow = self._catalog.snapshot.by_name.get(flow_name)
        step = flow.step(step_name) if flow else None
        return self.of(flow, step) if flow and step else None

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
