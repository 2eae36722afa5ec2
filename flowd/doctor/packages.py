"""Checks the workspace's flow packages, and the interpreters that their steps need."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from flowd.catalog.scan import scan_once
from flowd.catalog.schedule_doubts import schedule_doubts
from flowd.catalog.watch_doubts import watch_doubts
from flowd.doctor.finding import Finding, fail, ok, warn
from flowd.doctor.scene import Scene
from flowd.domain.flow import Snapshot
from flowd.domain.launching import SpawnError
from flowd.runners.inline_metadata import inline_metadata
from flowd.runners.interpreters import Interpreters, is_shim

_VERSION_TIMEOUT_S = 10.0
_MAX_SCRIPT_BYTES = 4 * 1024 * 1024
_INTERPRETED = ("bun", "node", "python")


def check(scene: Scene) -> Iterator[Finding]:
    """The packages on disk now, and what runs them."""
    snapshot = scan_once(scene.settings.workspace, is_vouched=scene.settings.is_vouched)
    count = len(snapshot.flows)
    yield ok("workspace", f"{scene.settings.workspace} with {count} flow {'package' if count == 1 else 'packages'}")
    for package in snapshot.broken:
        for told in package.errors():
            yield fail(f"package.{package.name}", f"broken: {told.position}: {told.text()}", told.remedy or "")
    for hidden in snapshot.shadowed:
        yield warn(
            f"package.{hidden.name}",
            f"{hidden.root} is hidden by {hidden.by}",
            "Remove one of the two, or give it another name.",
        )
    for flow in snapshot.flows:
        for doubt in (
            *schedule_doubts(snapshot, flow),
            *watch_doubts(snapshot, flow, scene.settings.workspace),
        ):
            yield warn(f"package.{flow.name}", doubt.text(), f"Correct it at {doubt.position}.")
    yield from _interpreters(scene, snapshot)


def _interpreters(scene: Scene, snapshot: Snapshot) -> Iterator[Finding]:
    interpreters = Interpreters(
        workspace=scene.settings.workspace, environ=scene.step_environ, overrides=scene.settings.interpreters
    )
    users: dict[str, list[str]] = {}
    for flow in snapshot.flows:
        for step in flow.steps:
            users.setdefault(step.runner.value, []).append(f"{flow.name}/{step.name}")
    for runner in _INTERPRETED:
        yield _interpreter(scene, interpreters, runner, users.get(runner, []))
    yield _uv(scene, interpreters, snapshot)


def _interpreter(scene: Scene, interpreters: Interpreters, runner: str, users: list[str]) -> Finding:
    needed = f", needed by {_some(users)}" if users else ", needed by no step"
    try:
        path = interpreters.locate(runner)
        if why := _not_run(scene, path, is_named=runner in scene.settings.named_by_workspace):
            return ok(f"runner.{runner}", f"{path} ({why}, so it was not run){needed}")
        path = interpreters.find(runner)
    except SpawnError as error:
        if not users:
            return ok(f"runner.{runner}", f"not found{needed}")
        return fail(f"runner.{runner}", f"not usable{needed}: {error}", _remedy(runner))
    version, problem = _version(path)
    if problem and users:
        return fail(f"runner.{runner}", f"{path} does not run{needed}: {problem}", _remedy(runner))
    return ok(f"runner.{runner}", f"{path} {version or '(tells no version)'}{needed}")


def _not_run(scene: Scene, path: str, *, is_named: bool) -> str:
    """Why a program is not asked for its version; empty where it may be.

    The doctor runs nothing that the workspace names: one looks at a workspace with it before one trusts it. Nor does it
    run, as root, what is found in the environment of another user's daemon.
    """
    workspace = scene.settings.workspace
    if is_named:
        return "the workspace names it"
    if any(Path(each).is_relative_to(workspace) for each in (path, os.path.realpath(path))):
        return "it is in the workspace"
    if is_shim(path):
        return "it looks into the workspace for what to run"
    if os.geteuid() == 0 and scene.daemon is not None and scene.daemon.uid not in (0, None):
        return "the daemon is another user's"
    return ""


def _remedy(runner: str) -> str:
    return f'Install it, or set `[runners] {runner} = "/path"` in .codex/flowd.toml.'


def _version(path: str) -> tuple[str, str]:
    """What the program says of itself, and why it did not."""
    try:
        done = subprocess.run(
            [path, "--version"],
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_VERSION_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return "", str(error)
    words = (done.stdout or done.stderr).decode("utf-8", "replace").split()
    return " ".join(words[:2]), "" if done.returncode == 0 else f"it exits with {done.returncode}"


def _uv(scene: Scene, interpreters: Interpreters, snapshot: Snapshot) -> Finding:
    python = [(flow, step) for flow in snapshot.flows for step in flow.steps if step.runner.value == "python"]
    needing = [f"{flow.name}/{step.name}" for flow, step in python if _has_requirements(Path(flow.root) / step.script)]
    path = interpreters.which("uv")
    if path is not None:
        version = _version(path)[0] if not _not_run(scene, path, is_named=False) else "(not run)"
        return ok("runner.uv", f"{path} {version}, needed by {_some(needing) if needing else 'no step'}")
    if not needing:
        return ok("runner.uv", "not found, needed by no step")
    return fail(
        "runner.uv",
        f"not found, but {_some(needing)} name requirements (PEP 723)",
        "Install uv (https://docs.astral.sh/uv) on flowd's PATH.",
    )


def _has_requirements(script: Path) -> bool:
    if not script.is_file():  # opening a named pipe waits for a writer
        return False
    try:
        with script.open("rb") as file:
            metadata = inline_metadata(file.read(_MAX_SCRIPT_BYTES).decode("utf-8", "replace"))
    except OSError:
        return False
    return metadata is not None and bool(metadata.dependencies)


def _some(names: list[str]) -> str:
    """
    >>> _some(["a/b"]), _some(["a/b", "c/d", "e/f", "g/h"])
    ('a/b', 'a/b, c/d and 2 more')
    """
    return ", ".join(names) if len(names) <= 3 else f"{', '.join(names[:2])} and {len(names) - 2} more"
