"""Reads the flow packages on disk for verbs that work without a daemon, in the daemon's own shapes."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flowd.api import json
from flowd.api.shapes import View
from flowd.api.shapes import catalog as shapes
from flowd.catalog.package import load
from flowd.catalog.precedence import Found, assemble
from flowd.catalog.scan import scan_once
from flowd.catalog.schema_process import SchemaProcess
from flowd.cli.exits import CommandError
from flowd.domain import event as events
from flowd.domain import hosts, joining, matching, timing
from flowd.domain.errors import InvalidEventError, StateError
from flowd.domain.flow import Flow, Origin, Snapshot
from flowd.domain.instants import read_whole_instant
from flowd.domain.step import Step
from flowd.settings import sources
from flowd.settings.values import Simple


def scan(workspace: Path) -> Snapshot:
    """The catalog of a workspace, read now.

    Raises:
        CommandError: There is no such folder.
    """
    if not workspace.is_dir():
        raise CommandError(f"{workspace} is not a folder.")
    return scan_once(workspace)


def scan_package(folder: Path, text: bytes | None = None) -> Snapshot:
    """One package, wherever it lies, read now.

    Args:
        text: Its manifest's, in place of what is on disk.
    """
    with SchemaProcess() as elsewhere:
        package = load(str(folder), Origin.SOURCE, elsewhere, text=text)
    found = Found(flow=package.flow) if package.broken is None else Found(broken=package.broken)
    return assemble([found])


def with_package(snapshot: Snapshot, other: Snapshot) -> Snapshot:
    """A snapshot in which a package is as another snapshot has it."""
    new = [*map(Found, other.flows), *(Found(broken=item) for item in other.broken)]
    roots = {flow.root for flow in other.flows} | {item.root for item in other.broken}
    flows = [Found(flow=flow) for flow in snapshot.flows if flow.root not in roots]
    broken = [Found(broken=item) for item in snapshot.broken if item.root not in roots]
    return assemble([*new, *flows, *broken])


def flows(snapshot: Snapshot) -> dict[str, Any]:
    """The same as flow.listFlows returns."""
    return _plain(shapes.catalog_view(snapshot))


def explain(workspace: Path, body: object) -> dict[str, Any]:
    """The same as flow.explain returns.

    Raises:
        CommandError: The event is not one.
    """
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    try:
        event = events.normalise(body, now=now)
        timing.not_before_ms(event.members, now_ms=read_whole_instant(now) or 0)
    except InvalidEventError as error:
        raise CommandError(error.message) from error
    snapshot = scan(workspace)
    verdicts = matching.explain(snapshot, event)
    if sources := matching.deferred(verdicts):
        with SchemaProcess() as process:
            verdicts = matching.settle(
                verdicts, process.check(sources, json.encode(event.members), budget_s=Simple().max_check_ms / 1000)
            )
    labels = labels_here(workspace, snapshot)
    verdicts = joining.join(snapshot, verdicts)

    def able(_: Flow, step: Step) -> hosts.Able:
        lacked = hosts.missing(step.runs_on, labels)
        return hosts.Able(lacked, int(not lacked))

    return _plain(shapes.explain_view(event, verdicts, snapshot, able))


def labels_here(workspace: Path, snapshot: Snapshot) -> frozenset[str]:
    """The labels of this host, by the workspace's settings; none where no step requires any.

    Raises:
        CommandError: The settings cannot be read.
    """
    if not any(step.runs_on for flow in snapshot.flows for step in flow.steps):
        return frozenset()
    try:
        return sources.load(workspace).all_labels
    except StateError as error:
        raise CommandError(error.message) from error


def _plain(view: View) -> dict[str, Any]:
    members: dict[str, Any] = json.decode(json.encode(view))
    return members
