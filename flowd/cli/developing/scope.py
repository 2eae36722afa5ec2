"""What is worked on: which flows, which steps of them."""

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from flowd.cli.developing.events import Choice
from flowd.cli.exits import CommandError, Exit
from flowd.domain import saved
from flowd.domain.flow import BrokenPackage, Flow, Snapshot


@dataclass(frozen=True, slots=True)
class Target:
    """What somebody asked to work on.

    Attributes:
        flow: None is every flow of the workspace.
        step: None is whatever a save concerns.
        event: None is whatever fits.
        approved: Names of steps that count as completed where they ask for a person.
    """

    flow: str | None = None
    step: str | None = None
    event: Choice | None = None
    approved: Collection[str] = ()


class Scope:
    """The part of the catalog that is worked on."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.snapshot = Snapshot()

    @property
    def flows(self) -> list[Flow]:
        """The flows, also those whose files are broken now."""
        return [flow for flow in self.snapshot.flows if self.target.flow in (None, flow.name)]

    @property
    def broken(self) -> list[BrokenPackage]:
        """The packages that are broken; one that never was good may be named by its folder."""
        wanted = self.target.flow
        return [one for one in self.snapshot.broken if wanted in (None, one.name, os.path.basename(one.root))]

    @property
    def roots(self) -> list[str]:
        """The packages' folders."""
        return list(dict.fromkeys([*(flow.root for flow in self.flows), *(one.root for one in self.broken)]))

    def gone(self, before: Sequence[Flow]) -> list[str]:
        """The names of flows of before that are gone: no flow has the name, and the folder has no package any more."""
        names, roots = {flow.name for flow in self.flows}, set(self.roots)
        return [flow.name for flow in before if flow.name not in names and flow.root not in roots]

    def names(self, path: str) -> bool:
        """Whether a flow is made of this file."""
        return os.path.basename(path) == saved.MANIFEST or any(saved.names(flow, path) for flow in self.snapshot.flows)

    def require(self) -> None:
        """Refuse a target that is not there, be it broken.

        Raises:
            CommandError: There is no such flow, or no flow at all.
        """
        if self.flows or self.broken:
            return
        if self.target.flow is None:
            raise CommandError("There is no flow package here. `flowd new NAME` writes one.", Exit.NOT_FOUND)
        names = ", ".join(flow.name for flow in self.snapshot.flows)
        raise CommandError(f"There is no flow {self.target.flow}. There are: {names or 'none'}.", Exit.NOT_FOUND)

    def only_flow(self) -> Flow:
        """The flow that is named, or the only one.

        Raises:
            CommandError: It is not there, it is broken, or there are several.
        """
        self.require()
        flows, broken = self.flows, self.broken
        if len(flows) == 1 and not flows[0].stale:
            return flows[0]
        if broken and len(flows) <= 1:
            raise CommandError(broken[0].sentence(), Exit.RUN_FAILED)
        names = ", ".join(flow.name for flow in flows)
        raise CommandError(f"Which flow? There are {names}. Save a file of one, or name one: flowd dev {flows[0].name}")

    def steps_of(self, flow: Flow, steps: Collection[str] = ()) -> tuple[str, ...]:
        """These steps in the flow's order, or all where none is named; the target's alone where it has one.

        Raises:
            CommandError: The flow has no such step as the target says.
        """
        wanted = self.target.step
        if wanted is None:
            return tuple(step.name for step in flow.steps if not steps or step.name in steps)
        if flow.step(wanted) is None:
            names = ", ".join(step.name for step in flow.steps)
            raise CommandError(f"Flow {flow.name} has no step {wanted}. It has: {names}.", Exit.NOT_FOUND)
        return (wanted,)
