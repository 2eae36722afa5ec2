"""Checks the workspace's flow packages, and the interpreters that their steps need."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

from flowd.catalog.scan import scan_once
from flowd.doctor.finding import Finding, fail, ok, warn
from flowd.doctor.scene import Scene
from flowd.domain.flow import Snapshot
from flowd.domain.launching import SpawnError
from flowd.runners.inline_metadata import inline_metadata
from flowd.runners.interpreters import Interpreters

_VERSION_TIMEOUT_S = 10.0
_INTERPRETED = ("bun", "node", "python")


def check(scene: Scene) -> Iterator[Finding]:
    """The packages on disk now, and what runs them."""
    snapshot = scan_once(scene.settings.workspace)
    count = len(snapshot.flows)
    yield ok("workspace", f"{scene.settings.workspace} with {count} flow {'package' if count == 1 else 'packages'}")
    for package in snapshot.broken:
        where = f"{package.file}:{package.line}" if package.line else package.file
        yield fail(f"package.{package.name}", f"broken: {where}: {package.error}", package.remedy)
    for hidden in snapshot.shadowed:
        yield warn(
            f"package.{hidden.name}",
            f"{hidden.root} is hidden by {hidden.by}",
            "Remove one of the two, or give it another name.",
        )
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
        yield _interpreter(interpreters, runner, users.get(runner, []))
    yield _uv(interpreters, snapshot)


def _interpreter(interpreters: Interpreters, runner: str, users: list[str]) -> Finding:
    needed = f", needed by {_some(users)}" if users else ", needed by no step"
    try:
        path = interpreters.find(runner)
    except SpawnError as error:
        if not users:
            return ok(f"runner.{runner}", f"not found{needed}")
        return fail(f"runner.{runner}", f"not usable{needed}: {error}", _remedy(runner))
    version, problem = _version(path)
    if problem and users:
        return fail(f"runner.{runner}", f"{path} does not run{needed}: {problem}", _remedy(runner))
    return ok(f"runner.{runner}", f"{path} {version or '(tells no version)'}{needed}")


def _remedy(runner: str) -> str:
    return f'Install it, or set `[runners] {runner} = "/path"` in .codex/flowd.toml.'


def _version(path: str) -> tuple[str, str]:
    """What the program says of itself, and why it did not."""
    try:
        done = subprocess.run(
            [path, "--version"], stdin=subprocess.DEVNULL, capture_output=True, timeout=_VERSION_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return "", str(error)
    words = (done.stdout or done.stderr).decode("utf-8", "replace").split()
    return " ".join(words[:2]), "" if done.returncode == 0 else f"it exits with {done.returncode}"


def _uv(interpreters: Interpreters, snapshot: Snapshot) -> Finding:
    python = [(flow, step) for flow in snapshot.flows for step in flow.steps if step.runner.value == "python"]
    needing = [f"{flow.name}/{step.name}" for flow, step in python if _has_requirements(Path(flow.root) / step.script)]
    path = interpreters.which("uv")
    if path is not None:
        return ok("runner.uv", f"{path} {_version(path)[0]}, needed by {_some(needing) if needing else 'no step'}")
    if not needing:
        return ok("runner.uv", "not found, needed by no step")
    return fail(
        "runner.uv",
        f"not found, but {_some(needing)} name requirements (PEP 723)",
        "Install uv (https://docs.astral.sh/uv) on flowd's PATH.",
    )


def _has_requirements(script: Path) -> bool:
    try:
        metadata = inline_metadata(script.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return False
    return metadata is not None and bool(metadata.dependencies)


def _some(names: list[str]) -> str:
    """
    >>> _some(["a/b"]), _some(["a/b", "c/d", "e/f", "g/h"])
    ('a/b', 'a/b, c/d and 2 more')
    """
    return ", ".join(names) if len(names) <= 3 else f"{', '.join(names[:2])} and {len(names) - 2} more"
