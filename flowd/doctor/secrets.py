"""Checks who can read the files that hold secrets, and which variables are shown unmasked."""

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from flowd.api.http.config import UnixAddress
from flowd.catalog.scan import scan_once
from flowd.doctor.finding import Finding, fail, ok, warn
from flowd.doctor.scene import Scene
from flowd.domain.flow import Snapshot
from flowd.domain.redaction import MIN_LENGTH, looks_secret
from flowd.settings import values as settings_values


def check(scene: Scene) -> Iterator[Finding]:
    """Check secrets. Shows names only, never a value."""
    snapshot = scan_once(scene.settings.workspace, is_vouched=scene.settings.is_vouched)
    problems = [*_secret_file(scene.environ), *_named_files(scene), *_packages(snapshot)]
    yield from problems or [ok("secrets.files", "no file with a secret is open to others")]
    yield _inherited(scene)
    yield from _masking(scene, snapshot)
    yield from _http(scene)


def _http(scene: Scene) -> Iterator[Finding]:
    http = scene.settings.http
    if http is None:
        return
    if http.access.needs_token:
        yield ok("secrets.http", "HTTP has no secret: who uses it needs the token in http-token of the state folder")
    elif http.access.is_open and not isinstance(http.address, UnixAddress):
        yield warn(
            "secrets.http",
            f"everybody on this machine can start and end processes here through HTTP on {http.address}",
            "Leave out --http-open, FLOWD_HTTP_OPEN or [http] open, or set FLOWD_HTTP_SECRET_FILE or [http.tokens].",
        )
    elif http.access.is_read_public:
        yield ok(
            "secrets.http",
            f"everybody who reaches {http.address} may read events, runs and output ([http] public_read = false ends "
            "that; the TypeScript system's client signs no GET)",
        )


def _secret_file(environ: Mapping[str, str]) -> Iterator[Finding]:
    name = environ.get("FLOWD_HTTP_SECRET_FILE")
    if name and _mode(Path(name)) & 0o077:
        yield fail("secrets.files", f"others can read {name}, the secret of the HTTP API", f"Run: chmod 600 {name}")


def _named_files(scene: Scene) -> Iterator[Finding]:
    """The files that the settings name: ``[secrets]``, and those of HTTP, its tokens, the hooks and notifiers."""
    http, environ = scene.settings.http, scene.environ
    told = {environ.get("FLOWD_HTTP_SECRET_FILE")}
    files = [source.file for source in scene.settings.secrets.values() if source.file is not None]
    files += [file for notifier in scene.settings.notifiers for file in notifier.files]
    for name in sorted({*files, *(http.secret_files if http else ())} - told):
        if _is_open(Path(name)):
            yield warn(
                "secrets.files", f"everybody on this machine can read or write {name}", f"Run: chmod o-rwx {name}"
            )


def _is_open(path: Path) -> bool:
    """Whether everybody may read or write the file, and may go through all the folders that it is in."""
    path = path.resolve()
    return bool(_mode(path) & 0o006) and all(_mode(folder) & 0o001 for folder in path.parents)


def _packages(snapshot: Snapshot) -> Iterator[Finding]:
    for flow in snapshot.flows:
        names = sorted({name for step in flow.steps for name in step.env if looks_secret(name)})
        path = Path(flow.root) / "flow.toml"
        if names and _mode(path) & 0o004:
            yield warn(
                "secrets.files",
                f"{path} sets {', '.join(names)}, and everybody can read it",
                f"Set them in the daemon's environment instead, or run: chmod o-r {path}",
            )


def _mode(path: Path) -> int:
    try:
        return stat.S_IMODE(os.stat(path).st_mode)
    except OSError:
        return 0


def _inherited(scene: Scene) -> Finding:
    """What of the daemon's environment looks secret and reaches every step: flowd keeps back its own only."""
    inherited = settings_values.step_environment(scene.settings, scene.step_environ)
    names = sorted(name for name, value in inherited.items() if value and looks_secret(name))
    if not names:
        return ok("secrets.inherited", "steps inherit nothing that looks like a secret")
    patterns = ", ".join(f'"{name}"' for name in (*scene.settings.withhold, *names))
    return warn(
        "secrets.inherited",
        f"every step inherits {', '.join(names)}",
        f"Where steps need none of it, set `[environment] withhold = [{patterns}]` in .codex/flowd.toml (patterns like "
        '"*_TOKEN" work); `inherit` names the only ones that they get.',
    )


def _masking(scene: Scene, snapshot: Snapshot) -> Iterator[Finding]:
    inherited = settings_values.step_environment(scene.settings, scene.step_environ)
    values: dict[str, str] = dict(inherited)
    for flow in snapshot.flows:
        for step in flow.steps:
            values |= step.env
    redact = scene.settings.redact
    bare = sorted(name for name in values if looks_secret(name) and name not in redact and values[name])
    short = sorted(name for name in redact if 0 < len(values.get(name, "").strip()) < MIN_LENGTH)
    if short:
        yield warn(
            "secrets.masking",
            f"{', '.join(short)} cannot be masked: a value of fewer than {MIN_LENGTH} characters is part of any text",
            "Choose a longer secret.",
        )
    if bare:
        listed = ", ".join(f'"{name}"' for name in (*redact, *bare))
        yield warn(
            "secrets.masking",
            f"steps get {', '.join(bare)}, and what they print of it is shown",
            f"If these are secrets, set `[environment] redact = [{listed}]` in .codex/flowd.toml.",
        )
    elif not short:
        yield ok("secrets.masking", f"{len(redact)} variables are masked" if redact else "nothing looks like a secret")
