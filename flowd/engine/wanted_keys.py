"""The keys and the priorities that the runs of an event are made with: as the packages in force declare them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from flowd.domain import concurrency
from flowd.domain.concurrency import Concurrency, Kind, WantedKey
from flowd.domain.flow import Snapshot
from flowd.domain.queueing import NewRun
from flowd.ports import Catalog


class WantedKeys:
    """Gives runs their keys."""

    def __init__(self, catalog: Catalog, canonical: Callable[[object], bytes]) -> None:
        """``canonical`` makes JSON with sorted keys."""
        self._catalog = catalog
        self._canonical = canonical

    def give(self, runs: Sequence[NewRun], event: Mapping[str, object]) -> tuple[NewRun, ...]:
        """The runs with what their flows and steps declare; those of which nothing is declared as they are.

        Args:
            event: The normalised event that they are made for.
        """
        snapshot = self._catalog.snapshot
        if not snapshot.has_order_between_events:
            return tuple(runs)
        return tuple(self._given(run, event, snapshot) for run in runs)

    def _given(self, run: NewRun, event: Mapping[str, object], snapshot: Snapshot) -> NewRun:
        flow = snapshot.by_name.get(run.definition.flow_name)
        step = flow.step(run.definition.step_name) if flow else None
        if flow is None or step is None or not (flow.concurrency or step.concurrency or step.priority):
            return run

        def key(kind: Kind, asked: Concurrency | None, own: str) -> WantedKey | None:
            if asked is None:
                return None
            group = asked.group or own
            limit = snapshot.key_limits[kind, group]
            return concurrency.wanted(asked, event, group=group, limit=limit, canonical=self._canonical)

        return replace(
            run,
            key=key("step", step.concurrency, run.definition.label),
            round_key=key("flow", flow.concurrency, flow.name),
            priority=step.priority,
        )
