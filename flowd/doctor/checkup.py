"""Runs every check in order, so that none can spoil another, and carries out the repairs."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flowd.doctor import (
    clocks,
    daemon_process,
    database,
    installation,
    keeper_process,
    leftovers,
    limits,
    notifiers,
    packages,
    secrets,
    service,
    shared_hosts,
    state_folder,
    step_secrets,
    waiting,
    whereabouts,
    workspace_tasks,
)
from flowd.doctor.finding import Finding, Level, fail, ok, warn
from flowd.doctor.scene import Scene
from flowd.doctor.whereabouts import Whereabouts
from flowd.domain.errors import StateError
from flowd.service import executable
from flowd.settings import sources as settings_sources
from flowd.settings import unknown
from flowd.settings.files import FileError
from flowd.settings.values import Settings
from flowd.state import trust
from flowd_client import discovery

_CHECKS: tuple[tuple[str, Callable[[Scene], Iterable[Finding]]], ...] = (
    ("packages", packages.check),
    ("tasks", workspace_tasks.check),
    ("state", state_folder.check),
    ("daemon", daemon_process.check),
    ("keeper", keeper_process.check),
    ("database", database.check),
    ("hosts", shared_hosts.check),
    ("waits", waiting.check),
    ("leftovers", leftovers.check),
    ("limits", limits.check),
    ("clock", clocks.check),
    ("secrets", secrets.check),
    ("secrets.steps", step_secrets.check),
    ("notifiers", notifiers.check),
    ("service", service.check),
)

_WITHOUT_STATE = frozenset({"service"})
"""What can be checked where the state folder is closed to us."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A finding, and what was done about it; empty when nothing was."""

    finding: Finding
    repaired: str = ""

    @property
    def level(self) -> Level:
        """How bad it is now."""
        return Level.OK if self.repaired else self.finding.level


def examine(workspace: Path, environ: Mapping[str, str], *, socket: Path | None = None) -> Iterator[Finding]:
    """Run every check. Changes nothing. Findings come as they are made."""
    yield from installation.check()
    is_vouched = trust.is_service_of_root(workspace)
    try:
        if not is_vouched:
            trust.require(workspace)
    except StateError as error:
        yield fail("workspace.trust", error.message, "Nothing in it is looked at, or run, before that.")
        return
    environ = discovery.meant_for(workspace.resolve(), environ)
    place = whereabouts.find(workspace, environ, socket=socket)
    try:
        settings = settings_sources.load(
            workspace=workspace, flags={"socket": socket}, environ=place.environ, is_vouched=is_vouched
        )
    except FileError as error:
        for finding in error.findings:
            remedy = "Correct it; the rest is checked once it can be read."
            yield (fail if finding.is_error else warn)("settings", finding.sentence(), remedy)
        return
    except StateError as error:
        where = f" ({place.unit} has variables of its unit{_files(place.told.files)})" if place.unit else ""
        yield fail("settings", error.message, f"Correct it{where}; the rest is checked once it can be read.")
        return
    yield from _about(settings, place)
    scene = Scene(settings, place.environ)
    is_closed = whereabouts.is_closed(scene.folder)
    if is_closed:
        yield warn(
            "state.closed",
            f"only the service's user and root may look into {scene.folder}",
            f"For the other checks: {executable.as_root('doctor')}",
        )
    for name, check in _CHECKS:
        if is_closed and name not in _WITHOUT_STATE:
            continue
        yield from _guarded(name, check, scene)


def _about(settings: Settings, place: Whereabouts) -> Iterator[Finding]:
    """What the settings are, and what sets nothing."""
    if settings.link_sentence:
        yield warn("workspace.link", settings.link_sentence, settings.link_remedy or "")
    yield ok("settings", _set(settings.table) + (f"; as {place.unit} has them" if place.unit else ""))
    yield from _unread(place.environ, settings)
    for file, why in place.told.closed:
        yield warn(
            "settings.file",
            f"{file} cannot be read ({why}): what it sets is not known here",
            executable.as_root("doctor"),
        )
    for file, line in place.told.dropped:
        yield warn(
            "settings.file",
            f"line {line} of {file} sets nothing: systemd ignores what is not an assignment",
            "Write NAME=value: no `export`, no colon or dash, and quotes around the value only.",
        )


def _guarded(name: str, check: Callable[[Scene], Iterable[Finding]], scene: Scene) -> Iterator[Finding]:
    try:
        yield from check(scene)
    except Exception as error:  # noqa: BLE001 - a check that fails is a finding, and the others go on
        yield fail(name, f"could not be checked: {error or type(error).__name__}", "Fix that, then try again.")


def _files(files: Iterable[Path]) -> str:
    return "".join(f" and {file}" for file in files)


def _set(table: Iterable[Mapping[str, Any]]) -> str:
    set_ = sorted({_head(setting["name"]) for setting in table if not setting["origin"].startswith("default")})
    return f"set: {', '.join(set_)}; the rest are defaults" if set_ else "all are defaults"


def _head(name: str) -> str:
    """A setting, or the table of several that somebody has made.

    >>> _head("host.name"), _head("http.tokens.ci.scopes"), _head("notify[0].on")
    ('host.name', 'http.tokens.ci', 'notify')
    """
    head, bracket, _ = name.partition("[")
    return head if bracket or name.count(".") < 2 else name.rpartition(".")[0]


def repair(findings: Iterable[Finding]) -> Iterator[Entry]:
    """Do what is safe, and say what was done."""
    for finding in findings:
        if finding.repair is None:
            yield Entry(finding)
            continue
        try:
            yield Entry(finding, finding.repair())
        except OSError as error:
            remedy = f"{finding.remedy} The repair failed: {error}."
            yield Entry(Finding(finding.check, finding.level, finding.found, remedy))


def _unread(environ: Mapping[str, str], settings: Settings) -> Iterator[Finding]:
    """What sets nothing."""
    for sentence in unknown.find(environ, settings):
        yield warn("settings.variables", sentence, "Correct its name, or take it out of the environment.")
    for sentence in unknown.find_files(settings.workspace):
        yield warn("settings.file", sentence, "Remove it where nothing else reads it.")
