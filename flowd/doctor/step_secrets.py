"""Checks that each secret that a step asks for can be read. Shows names only, never a value."""

import shutil
from collections.abc import Iterator

from flowd.catalog.scan import scan_once
from flowd.doctor.finding import Finding, ok, warn
from flowd.doctor.scene import Scene
from flowd.domain.secrets import SecretSource, asked_for
from flowd.runners.secrets import SecretError, StepSecrets

_CHECK = "secrets.steps"


def check(scene: Scene) -> Iterator[Finding]:
    """The secrets of the workspace's packages, as the daemon would read them now."""
    snapshot = scan_once(scene.settings.workspace, is_vouched=scene.settings.is_vouched)
    users: dict[str, list[str]] = {}
    for flow, step, name in asked_for(snapshot.flows):
        users.setdefault(name, []).append(f"{flow.name}/{step}")
    problems = [warn(_CHECK, *found) for name in sorted(users) if (found := _problem(scene, name, users[name]))]
    yield from problems
    if users and not problems:
        yield ok(_CHECK, f"{', '.join(sorted(users))} can be read, as far as that can be tried without a command")


def _problem(scene: Scene, name: str, users: list[str]) -> tuple[str, str] | None:
    """What is wrong, and the remedy."""
    source = scene.settings.secrets.get(name)
    try:
        if source is not None and source.command is not None:
            _find_program(source, name, scene)
        elif source is None or source.credential is None or "CREDENTIALS_DIRECTORY" in scene.step_environ:
            StepSecrets(scene.settings.secrets, scene.step_environ).read(name)
        # What systemd gives to a unit is there only while that runs.
    except SecretError as error:
        return f"{', '.join(users)} cannot start: {error}", f"Correct [secrets.{name}] or what it names, then retry."
    return None


def _find_program(source: SecretSource, name: str, scene: Scene) -> None:
    """The doctor runs nothing that the settings of a workspace name: one looks at it before one trusts it."""
    assert source.command is not None
    program = source.command[0]
    if shutil.which(program, path=scene.step_environ.get("PATH")) is None:
        raise SecretError(f"there is no program {program}, the command of the secret {name}")
