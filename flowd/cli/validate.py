"""``flowd validate``: checks packages on disk."""

import dataclasses
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import click

from flowd.catalog.workspace_tasks import read_tasks, untold
from flowd.checking import notifiers, packages
from flowd.cli import disk, findings, printing
from flowd.cli.exits import CommandError, Exit
from flowd.cli.hosts import draw_differences
from flowd.cli.session import Session
from flowd.cli.verb import Verb
from flowd.domain.errors import StateError
from flowd.domain.finding import Finding, in_order
from flowd.domain.flow import MANIFEST, BrokenPackage, Snapshot
from flowd.domain.secrets import asked_for
from flowd.settings import findings as settings_findings
from flowd.settings import sources, unknown
from flowd.settings.files import SETTINGS_FILE
from flowd.settings.values import Settings
from flowd_client import requests
from flowd_client.views.catalog import CatalogView, read_catalog
from flowd_client.views.host import PackageDifferenceView

_ROOTS = ("flows", ".codex/flows")


@click.command(cls=Verb, short_help="Check flow packages on disk. Needs no daemon.")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path), metavar="[PATH]...")
@click.option("--strict", is_flag=True, help="Exit with 1 for warnings, too.")
@click.option(
    "--stdin",
    "unsaved",
    is_flag=True,
    help="Check the text on stdin in place of what PATH has on disk, a flow.toml or flowd.toml.",
)
@click.option(
    "--hosts", "of_hosts", is_flag=True, help="Tell which of them differ between the live hosts of the store."
)
@click.option(
    "--json", "as_json", is_flag=True, help="As JSON, in the shape of `flowd flows --json`, with all findings."
)
@click.pass_obj
def validate(
    session: Session, *, paths: tuple[Path, ...], strict: bool, unsaved: bool, of_hosts: bool, as_json: bool
) -> int:
    """Check the packages of the workspace and the settings, or those in PATHs: package folders, their flow.toml,
    workspaces, or a flowd.toml.

    All that is wrong is told, and all that is allowed and may not be meant, in the order of lines: keys that nothing
    reads, files that are not there, steps that no event starts or that could not be started here. Nothing is run.

    With --hosts the daemon is asked, too, which of these packages are not the same on all live hosts that share its
    store, by all files that they have.

    Exits with 1 if a package is broken, or differs between hosts.

    \b
    Examples:
      flowd validate
      flowd validate flows/release
      flowd validate --strict
      flowd validate --json | jq '.findings[]'
      flowd validate --stdin flows/release/flow.toml < unsaved.toml
      flowd validate --hosts
    """
    texts = _unsaved_text(paths) if unsaved else {}
    of_settings = _of_settings(session, paths, texts)
    if unsaved:
        snapshots = [_unsaved(*each) for each in texts.items() if not _is_settings_file(Path(each[0]))]
    elif paths:
        snapshots = [_check(path.absolute()) for path in paths if not _is_settings_file(path)]
    else:
        snapshots = [_checked(disk.scan(session.workspace), session.workspace)]
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
    found = in_order((*packages.findings(merged), *of_settings))
    response = disk.flows(merged)
    differing = _differing(session, {flow.name for flow in merged.flows} if paths else None) if of_hosts else ()
    if as_json:
        told = {package.name: dict(package.hashes) for package in differing}
        more = {"hosts": told} if of_hosts else {}
        printing.print_json({**response, **more, "findings": findings.as_json(found)})
    else:
        if snapshots:
            _draw(read_catalog(response))
        findings.draw(found, texts)
        draw_differences(differing)
        for sentence in () if paths else unknown.find_files(session.workspace):
            printing.note(f"flowd: {sentence}.")
        if isinstance(tasks, BrokenPackage) and not are_tasks_run:
            printing.note(f"flowd: Tasks are not run, and could not be: {tasks.sentence()}")
        for sentence in untold(tasks, is_on=are_tasks_run, snapshot=merged):
            printing.note(f"flowd: {sentence}.")
    is_bad = merged.broken or differing or any(finding.is_error or strict for finding in found)
    return Exit.RUN_FAILED if is_bad else Exit.GOOD


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
    folder = path.parent if path.name == MANIFEST else path
    if not folder.is_dir():
        raise CommandError(f"{path} is not a folder.")
    workspace = _workspace_of(folder)
    if workspace is None:
        return _alone(folder) if (folder / MANIFEST).exists() else _checked(disk.scan(folder), folder)
    snapshot = disk.scan(workspace)
    return _checked(snapshot, workspace, only=folder)


def _alone(folder: Path, text: bytes | None = None) -> Snapshot:
    """A package that lies in no workspace. Its folder is taken for one."""
    return _checked(disk.scan_package(folder, text), folder)


def _is_settings_file(path: Path) -> bool:
    return path.name == SETTINGS_FILE


def _of_settings(session: Session, paths: Sequence[Path], texts: Mapping[str, bytes]) -> list[Finding]:
    """What is wrong with the settings that are asked for: without paths, the workspace's and the user's."""
    if not paths:
        return [*settings_findings.find(session.workspace), *_of_notifiers(session.workspace)]
    found: list[Finding] = []
    for path in [path.absolute() for path in paths]:
        if str(path) in texts and _is_settings_file(path):
            found += settings_findings.of_text(path, texts[str(path)])
        elif _is_settings_file(path):
            found += settings_findings.of_file(path)
        elif (file := path / ".codex" / SETTINGS_FILE).exists():
            found += settings_findings.of_file(file)
    return found


def _of_notifiers(workspace: Path) -> Iterator[Finding]:
    try:
        yield from notifiers.findings(sources.load(workspace))
    except StateError:
        return  # which is told with the settings


def _unsaved_text(paths: Sequence[Path]) -> dict[str, bytes]:
    """The text on stdin, by the path of the flow.toml that it is to be."""
    is_one = len(paths) == 1 and (paths[0].name == MANIFEST or _is_settings_file(paths[0]))
    if not is_one or not paths[0].parent.is_dir():
        raise CommandError("--stdin needs the path of one flow.toml or flowd.toml in a folder, whose text it takes.")
    return {str(paths[0].absolute()): sys.stdin.buffer.read()}


def _unsaved(path: str, text: bytes) -> Snapshot:
    """The package of one flow.toml, with a text that may not be saved."""
    folder = Path(path).parent
    workspace = _workspace_of(folder)
    if workspace is None:
        return _alone(folder, text)
    snapshot = disk.with_package(disk.scan(workspace), disk.scan_package(folder, text))
    return _checked(snapshot, workspace, only=folder)


def _checked(snapshot: Snapshot, workspace: Path, *, only: Path | None = None) -> Snapshot:
    """With warnings of what is allowed, and may not be meant; the settings are the workspace's.

    Args:
        only: The folder of the one package that is asked for.
    """
    found = packages.checked(snapshot, workspace, _settings(snapshot, workspace))
    if only is None:
        return found
    root = only.resolve()
    return dataclasses.replace(
        found,
        flows=tuple(flow for flow in found.flows if Path(flow.root).resolve() == root),
        broken=tuple(item for item in found.broken if Path(item.root).resolve() == root),
        shadowed=tuple(item for item in found.shadowed if Path(item.root).resolve() == root),
    )


def _settings(snapshot: Snapshot, workspace: Path) -> Settings | None:
    """The settings of a workspace, None where they cannot be read; that is told where a step asks for them."""
    asked = {
        "the settings have the secrets": any(asked_for(snapshot.flows)),
        "this host has the labels": any(step.runs_on for flow in snapshot.flows for step in flow.steps),
    }
    try:
        return sources.load(workspace)
    except StateError as error:
        for what in [what for what, is_asked in asked.items() if is_asked]:
            printing.note(f"flowd: Whether {what} that steps ask for is not known: {' '.join(error.message.split())}")
        return None


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
    return None


def _draw(view: CatalogView) -> None:
    for flow in view.flows:
        noun = "step" if len(flow.steps) == 1 else "steps"
        printing.line_with_status("", "ok", f" {flow.name} ({len(flow.steps)} {noun}) {flow.root}")
    for item in view.broken:
        printing.line_with_status("", "broken", f" {item.name} {item.root or item.file}")
    for hidden in view.shadowed:
        printing.line_with_status("", "shadowed", f" {hidden.name} {hidden.root}")
    if not (view.flows or view.broken or view.shadowed):
        printing.note("There is no flow package here. `flowd new NAME` writes one.")
