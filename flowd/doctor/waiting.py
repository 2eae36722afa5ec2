"""Checks what queued runs wait for: that it is there, and that its end would let them go."""

from collections.abc import Iterator

from flowd.catalog.scan import scan_once
from flowd.doctor.finding import Finding, fail, ok, warn
from flowd.doctor.scene import Scene
from flowd.domain import hosts
from flowd.domain.flow import Snapshot
from flowd.store.sql import stuck


def check(scene: Scene) -> Iterator[Finding]:
    """A finding for each thing that is wrong, else one that says that nothing is."""
    with scene.reading() as connection:
        if connection is None:
            return
        version = scene.schema_of(connection)
        found = stuck.find(connection, version)
        missed = stuck.without_package(connection, version)
    for one in found:
        runs, it = ("1 run", "it") if one.count == 1 else (f"{one.count} runs", "each")
        named = ", ".join(one.run_ids) + (" …" if one.count > len(one.run_ids) else "")
        yield fail(
            "waits",
            f"nothing lets {runs} start ({named}): {it} {one.why}",
            "End it with `flowd cancel RUN`, then replay its event. That is a fault in flowd: please report it.",
        )
    if missed:
        yield from _without_package(scene, missed)
    elif not found:
        yield ok("waits", "what is queued waits for what is there")


def _without_package(scene: Scene, missed: list[tuple[str, int]]) -> Iterator[Finding]:
    snapshot = scan_once(scene.settings.workspace, is_vouched=scene.settings.is_vouched)
    broken = {package.name: package for package in snapshot.broken}
    for flow, count in missed:
        runs = "1 run waits" if count == 1 else f"{count} runs wait"
        package = broken.get(flow)
        if lacked := _lacked(scene, snapshot, flow):
            yield warn(
                "waits",
                f"{runs} for a step of flow {flow} that this host cannot run",
                f"Give it what it lacks, {' and '.join(lacked)}, by [host] labels or FLOWD_LABELS.",
            )
        elif package is not None:
            yield warn("waits", f"{runs} for flow {flow}, which is broken", f"Mend it: {package.sentence()}")
        else:
            yield warn(
                "waits",
                f"{runs} for a step of flow {flow} that no package has",
                "Put it back. While the daemon runs, they fail when it has been gone for a minute.",
            )


def _lacked(scene: Scene, snapshot: Snapshot, flow_name: str) -> list[str]:
    """The labels that steps of a flow require, and this host does not have."""
    flow = snapshot.by_name.get(flow_name)
    required = {label for step in flow.steps for label in step.runs_on} if flow else set()
    return hosts.missing(required, scene.settings.all_labels)
