"""``flowd validate``: checks packages on disk."""

import dataclasses
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import click

from flowd.catalog.doubts import doubts
from flowd.catalog.schedule_doubts import schedule_doubts
from flowd.catalog.watch_doubts import watch_doubts
from flowd.catalog.workspace_tasks import read_tasks, untold
from flowd.cli import disk, printing
from flowd.cli.exits import CommandError, Exit
from flowd.cli.flows import remarks
from flowd.cli.hosts import draw_differences
from flowd.cli.session import Session
from flowd.cli.verb import Verb
from flowd.domain import hosts
from flowd.domain.errors import StateError
from flowd.domain.flow import BrokenPackage, Flow, Snapshot
from flowd.domain.secrets import asked_for
from flowd.domain.secrets import unknown as unknown_secret
from flowd.settings import sources, unknown
from flowd_client import requests
from flowd_client.views.catalog import CatalogView, read_catalog
from flowd_client.views.host import PackageDifferenceView

_ROOTS = ("flows", ".codex/flows")


@click.command(cls=Verb, short_help="Check flow packages on disk. Needs no daemon.")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path), metavar="[PATH]...")
@click.option(
    "--hosts", "of_hosts", is_flag=True, help="Tell which of them differ between the live hosts of the store."
)
@click.option("--json", "as_json", is_flag=True, help="As JSON, in the shape of `flowd flows --json`.")
@click.pass_obj
def validate(session: Session, paths: tuple[Path, ...], of_hosts: bool, as_json: bool) -> int:
    """Check the packages of the workspace, or those in PATHs: package folders, their flow.toml, or workspaces.

    With --hosts the daemon is asked, too, which of these packages are not the same on all live hosts that share its
    store, by all files that they have.

    Exits with 1 if a package is broken, or differs between hosts.

    \b
    Examples:
      flowd validate
      flowd validate flows/release
      flowd validate --json | jq .broken
      flowd validate --hosts
    """
    snapshots = [_check(path.absolute()) for path in paths]
    if not paths:
        snapshots = [_with_doubts(disk.scan(session.workspace), session.workspace)]
    tasks = None if paths else read_tasks(session.workspace)
    are_tasks_run = tasks is not None and _are_tasks_run(session.workspace)
    merged = Snapshot(
        flows=tuple(flow for snapshot in snapshots for flow in snapshot.flows),
        broken=(
            *(item for snapshot in snapshots for item in snapshot.broken),
            *([tasks] if are_tasks_run and isinstance(tasks, BrokenPackage) else []),
        ),
        shadowed=tuple(item for snapshot in snapshots for item in snapshot.shadowed),
    )
    response = disk.flows(merged)
    differing = _differing(session, {flow.name for flow in merged.flows} if paths else None) if of_hosts else ()
    if as_json:
        told = {package.name: dict(package.hashes) for package in differing}
        printing.print_json({**response, "hosts": told} if of_hosts else response)
    else:
        _draw(read_catalog(response))
        draw_differences(differing)
        for sentence in () if paths else unknown.find_files(session.workspace):
            printing.note(f"flowd: {sentence}.")
        if isinstance(tasks, BrokenPackage) and not are_tasks_run:
            printing.note(f"flowd: Tasks are not run, and could not be: {tasks.sentence()}")
        for sentence in untold(tasks, is_on=are_tasks_run, snapshot=merged):
            printing.note(f"flowd: {sentence}.")
    return Exit.RUN_FAILED if merged.broken or differing else Exit.GOOD


def _differing(session: Session, names: Collection[str] | None) -> Sequence[PackageDifferenceView]:
    """The packages that differ between live hosts, of these names or all.

    Raises:
        CommandError: Hosts share no store here.
        FlowClientError: No daemon answers.
    """
    packages = session.view(requests.hosts()).packages
    if packages is None:
        raise CommandError(
            "There are no hosts to compare: the daemon has its store for itself (docs/hosts.md tells how hosts share "
            "one), or is older than this command.",
            Exit.REFUSED,
        )
    return [package for package in packages if names is None or package.name in names]


def _check(path: Path) -> Snapshot:
    """The packages that a path means."""
    folder = path.parent if path.name == "flow.toml" else path
    if not folder.is_dir():
        raise CommandError(f"{path} is not a folder.")
    workspace = _workspace_of(folder)
    if workspace is None:
        return _with_doubts(disk.scan(folder), folder)
    snapshot = disk.scan(workspace)
    root = folder.resolve()
    chosen = dataclasses.replace(
        snapshot,
        flows=tuple(flow for flow in snapshot.flows if Path(flow.root).resolve() == root),
        broken=tuple(item for item in snapshot.broken if Path(item.root).resolve() == root),
        shadowed=tuple(item for item in snapshot.shadowed if Path(item.root).resolve() == root),
    )
    return _with_doubts(chosen, workspace)


def _with_doubts(snapshot: Snapshot, workspace: Path) -> Snapshot:
    """With warnings of what is allowed, and may not be meant; the settings are the workspace's."""
    secrets, labels = _missing_secrets(snapshot, workspace), disk.labels_here(workspace, snapshot)
    flows = (
        dataclasses.replace(
            flow,
            warnings=(
                *flow.warnings,
                *doubts(flow),
                *schedule_doubts(snapshot, flow),
                *watch_doubts(snapshot, flow, workspace),
                *_elsewhere(flow, labels),
                *secrets.get(flow.name, ()),
            ),
        )
        for flow in snapshot.flows
    )
    return dataclasses.replace(snapshot, flows=tuple(flows))


def _elsewhere(flow: Flow, labels: frozenset[str]) -> Iterator[str]:
    """A sentence for each step that this host cannot run."""
    for step in flow.steps:
        if lacked := hosts.missing(step.runs_on, labels):
            yield f'step "{step.name}": {hosts.lacking_sentence(lacked)}'


def _missing_secrets(snapshot: Snapshot, workspace: Path) -> dict[str, list[str]]:
    """By flow, a sentence for each secret that a step asks for, and that the workspace's settings do not name."""
    asked = list(asked_for(snapshot.flows))
    told: dict[str, list[str]] = {}
    if not asked:
        return told
    try:
        known = sources.load(workspace).secrets
    except StateError as error:
        printing.note(f"flowd: Whether the settings have the secrets that steps ask for is not known: {error.message}")
        return told
    for flow, step, name in asked:
        if name not in known:
            told.setdefault(flow.name, []).append(f'step "{step}": {unknown_secret(name, known)}')
    return told


def _are_tasks_run(workspace: Path) -> bool:
    """Whether the settings want tasks of the workspace run."""
    try:
        return sources.load(workspace).workspace_tasks
    except StateError:
        return False  # which is told by whatever needs the settings


def _workspace_of(package: Path) -> Path | None:
    """The workspace in one of whose roots the package lies; None when it does not lie in one."""
    for root in _ROOTS:
        depth = len(Path(root).parts)
        if len(package.parts) > depth + 1 and package.parts[-depth - 1 : -1] == Path(root).parts:
            workspace = package.parents[depth]
            if root != "flows" or package.parent.parent.name != ".codex":
                return workspace
    if (package / "flow.toml").exists():
        raise CommandError(f"{package} lies in no flows folder; put it into <workspace>/flows to check it.")
    return None


def _draw(view: CatalogView) -> None:
    for flow in view.flows:
        noun = "step" if len(flow.steps) == 1 else "steps"
        printing.line(f"{printing.status('ok')} {flow.name} ({len(flow.steps)} {noun}) {flow.root}")
    for text in remarks(view):
        printing.line(text)
    if not (view.flows or view.broken or view.shadowed):
        printing.note("There is no flow package here. `flowd new NAME` writes one.")
