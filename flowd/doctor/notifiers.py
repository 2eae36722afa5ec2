"""Checks that the notifiers of the settings can be used, as far as can be told without sending anything."""

from collections.abc import Iterator

from flowd.checking.notifiers import problem as problem_of
from flowd.doctor.finding import Finding, ok, warn
from flowd.doctor.scene import Scene
from flowd.settings import values as settings_values

_CHECK = "notifiers"


def check(scene: Scene) -> Iterator[Finding]:
    """The program of each is there, and the files that hold its secrets can be used. What failed lately the daemon
    tells."""
    environ = settings_values.step_environment(scene.settings, scene.environ)
    path = environ.get("PATH", "")
    problems = []
    for notifier in scene.settings.notifiers:
        problem = problem_of(notifier, scene.settings.workspace, path)
        if problem is not None:
            remedy = f"Correct it in [[notify]] of the settings, then: flowd notices test {notifier.name}"
            problems.append(warn(_CHECK, f"{notifier.name} tells nobody: {problem}", remedy))
    yield from problems
    if scene.settings.notifiers and not problems:
        names = ", ".join(notifier.name for notifier in scene.settings.notifiers)
        yield ok(_CHECK, f"{names}: what they need is there; `flowd notices test NAME` tries one out")
