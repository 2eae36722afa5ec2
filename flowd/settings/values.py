"""Settings and where each came from: flags > environment > the workspace's file > the user's file > defaults."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli

from flowd.api.http.config import HttpConfig
from flowd.domain.errors import StateError
from flowd.settings import http as settings_http
from flowd_client import discovery, wire

MIB = 1024 * 1024
_CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

DEFAULT_WHERE_MANAGED = "default under systemd"
"""The origin of a value that is another one's default where systemd manages the daemon."""

SECRETS = ("FLOWD_HTTP_SECRET", "FLOWD_HTTP_TOKEN", "CODEX_FLOW_BACKEND_SECRET")
"""Environment variables that steps never see."""


class SettingsError(StateError):
    """A setting has a value that cannot be used. Names the setting, where it came from, and what it may be."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set.

    Attributes:
        max_parallel: Steps that run at the same time; the rest are queued.
        max_queued: Runs that may wait; then events are refused.
        max_payload_bytes: Of an event's payload as JSON.
        max_output_bytes: Of each stream of an attempt; more ends it.
        on_stop: What a first SIGTERM does to running steps: let them ``finish``, ``cancel`` them, or ``keep`` them
            running for the next daemon; by default ``keep`` where systemd manages us, else ``finish``.
        executor: Who starts steps: ``direct`` is the keeper, ``systemd`` makes each a unit of its own.
        cgroup: Whether the keeper gives each step a cgroup: ``auto`` where one is delegated to flowd's own unit,
            ``off``, or below the cgroup of this path.
        orphan_grace_s: How long steps go on without any daemon before they are ended; 0 is for ever.
        interpreters: By runner name, instead of looking on PATH.
        inherit: Names of environment variables that steps inherit; None is all but flowd's secrets.
        redact: Names of environment variables whose values are masked in every view.
        http: The HTTP shim; None where nobody asked for it.
        origins: By setting, where its value came from.
    """

    workspace: Path
    state_dir: Path
    socket: Path
    max_parallel: int
    max_queued: int
    max_payload_bytes: int
    max_output_bytes: int
    rescan_interval_s: float
    on_stop: str
    orphan_grace_s: float
    executor: str
    cgroup: str
    log_format: str
    log_level: str
    interpreters: Mapping[str, str]
    inherit: tuple[str, ...] | None
    redact: tuple[str, ...]
    http: HttpConfig | None
    origins: Mapping[str, str]

    @property
    def max_frame_bytes(self) -> int:
        """Of a message on the control socket: a payload, escaped, and what is around it."""
        return self.max_payload_bytes + MIB

    def table(self) -> list[dict[str, Any]]:
        """Every setting with its value and origin, JSON-ready."""
        shown = {name: getattr(self, name) for name in self.origins}
        shown["http"] = None if self.http is None else str(self.http.address)  # and none of its secrets
        return [
            {"name": name, "value": str(value) if isinstance(value, Path) else value, "origin": self.origins[name]}
            for name, value in shown.items()
        ]


@dataclass(frozen=True, slots=True)
class _Spec:
    read: Callable[[Any], Any]
    default: Any
    environment: tuple[str, ...]


def _integer(low: int, high: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise ValueError(f"must be a whole number from {low} to {high}")
        try:
            number = int(value)
        except ValueError:
            raise ValueError(f"must be a whole number from {low} to {high}") from None
        if not low <= number <= high:
            raise ValueError(f"must be from {low} to {high}")
        return number

    return read


def _seconds(low: float, high: float) -> Callable[[Any], float]:
    def read(value: Any) -> float:
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise ValueError(f"must be seconds from {low} to {high}") from None
        if isinstance(value, bool) or not low <= number <= high:
            raise ValueError(f"must be seconds from {low} to {high}")
        return number

    return read


def _choice(*choices: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if value not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return str(value)

    return read


def _executor(value: Any) -> str:
    if value not in ("direct", "systemd", "systemd-run"):
        raise ValueError("must be direct or systemd")
    return str(value).removesuffix("-run")  # the reference system's name for it


def _cgroup(value: Any) -> str:
    if value not in ("auto", "off") and not (isinstance(value, str) and os.path.isabs(value)):
        raise ValueError("must be auto, off, or the absolute path of a cgroup (version 2) that flowd may use")
    return str(value)


_SPECS: Mapping[str, _Spec] = {
    "max_parallel": _Spec(_integer(1, 10_000), max(4, 2 * _CORES), ("FLOWD_MAX_PARALLEL",)),
    "max_queued": _Spec(_integer(1, 10_000_000), 100_000, ("FLOWD_MAX_QUEUED",)),
    "max_payload_bytes": _Spec(_integer(1024, 64 * MIB), 4 * MIB, ("FLOWD_MAX_PAYLOAD_BYTES",)),
    "max_output_bytes": _Spec(_integer(64 * 1024, 1 << 40), 64 * MIB, ("FLOWD_MAX_OUTPUT_BYTES",)),
    "rescan_interval_s": _Spec(_seconds(1, 3600), 10.0, ("FLOWD_RESCAN_INTERVAL_S",)),
    "on_stop": _Spec(_choice("finish", "cancel", "keep"), "finish", ("FLOWD_ON_STOP",)),
    "orphan_grace_s": _Spec(_seconds(0, 7 * 86_400), 600.0, ("FLOWD_ORPHAN_GRACE_S",)),
    "executor": _Spec(_executor, "direct", ("FLOWD_EXECUTOR", "CODEX_FLOW_BACKEND_EXECUTOR")),
    "cgroup": _Spec(_cgroup, "auto", ("FLOWD_CGROUP",)),
    "log_format": _Spec(_choice("auto", "pretty", "json", "journal"), "auto", ("FLOWD_LOG_FORMAT",)),
    "log_level": _Spec(_choice("debug", "info", "warning", "error"), "info", ("FLOWD_LOG_LEVEL",)),
}

_INTERPRETERS = {
    "python": ("FLOWD_PYTHON",),
    "bun": ("FLOWD_BUN", "CODEX_FLOW_BACKEND_BUN"),
    "node": ("FLOWD_NODE",),
}

VARIABLES = frozenset(
    name for names in (*(spec.environment for spec in _SPECS.values()), *_INTERPRETERS.values()) for name in names
)
"""Environment variables that set a value."""


def load(
    workspace: Path | None = None,
    flags: Mapping[str, object] | None = None,
    environ: Mapping[str, str] = os.environ,
    home: Path | None = None,
) -> Settings:
    """Gather the settings.

    Args:
        workspace: As given on the command line; None finds the enclosing one.
        flags: From the command line, by setting name; None values count as not given.

    Raises:
        SettingsError: A value or a file cannot be used.
    """
    flags = {name: value for name, value in (flags or {}).items() if value is not None}
    unknown = set(flags) - set(_SPECS) - {"state_dir", "socket", "http"}
    if unknown:
        raise SettingsError(f"There is no setting {min(unknown)!r}.")
    root = Path(workspace).resolve() if workspace is not None else discovery.find_workspace().resolve()
    _check_folder(root)
    if not _is_unicode(root):
        # Its path is in every answer, and JSON has no way to write it.
        raise SettingsError(f"The workspace's path {str(root)!r} is not UTF-8. Rename its folder.")
    user_dir = home or _user_dir(environ)
    paths = (root / ".codex" / "flowd.toml", *([user_dir / "flowd" / "config.toml"] if user_dir else []))
    files = [(path, _read(path)) for path in paths]
    sources = _Sources(flags, environ, files)
    origins = {"workspace": "flag -w" if workspace is not None else "found"}
    values: dict[str, Any] = {}
    for name, spec in _SPECS.items():
        values[name], origins[name] = sources.value(name, spec)
    if origins["on_stop"] == "default" and is_managed(environ):
        values["on_stop"], origins["on_stop"] = "keep", DEFAULT_WHERE_MANAGED
    state_dir, origins["state_dir"] = sources.path(
        "state_dir", ("FLOWD_STATE_DIR", "CODEX_FLOW_BACKEND_DATA_DIR"), default=root / wire.STATE_DIR, root=root
    )
    socket, origins["socket"] = sources.path(
        "socket", ("FLOWD_SOCKET",), default=state_dir / wire.SOCKET_NAME, root=root
    )
    interpreters, inherit = _tables(environ, files, origins)
    try:
        http, origins["http"] = settings_http.load(
            flags.get("http"), environ, files, root=root, max_payload_bytes=values["max_payload_bytes"]
        )
    except ValueError as error:
        raise SettingsError(str(error)) from None
    redact = _redact(files, origins)
    return Settings(
        workspace=root, state_dir=state_dir, socket=socket, interpreters=interpreters, inherit=inherit, redact=redact,
        http=http,
        origins=origins, **values,
    )  # fmt: skip


def _check_folder(root: Path) -> None:
    try:
        if root.is_dir():
            return
    except PermissionError:  # a folder above it is closed
        raise SettingsError(f"You may not look at the workspace {root}. Name another with -w.") from None
    raise SettingsError(f"The workspace {root} is not a folder. Make it, or name another with -w.")


def _is_unicode(path: Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def _user_dir(environ: Mapping[str, str]) -> Path | None:
    """Where the user's settings are; None for a user without a home, as a container may have it."""
    if configured := environ.get("XDG_CONFIG_HOME"):
        return Path(configured)
    try:
        return Path.home() / ".config"
    except RuntimeError:
        return None


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"Cannot read {path}: {error}") from error
    try:
        members = tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        raise SettingsError(f"{path}: {error}") from error
    known = {*_SPECS, "state_dir", "socket", "runners", "environment", "http", "hooks"}
    for name in members:
        if name not in known:
            raise SettingsError(f"{path}: there is no setting {name!r}. Known are: {', '.join(sorted(known))}.")
    if not isinstance(members.get("environment", {}), dict):
        raise SettingsError(f"{path}: environment is a table: [environment] with inherit and redact in it.")
    for table, names in (("environment", ("inherit", "redact")), ("runners", tuple(_INTERPRETERS))):
        given = members.get(table)
        unknown = [name for name in given if name not in names] if isinstance(given, dict) else []
        if unknown:
            raise SettingsError(f"{path}: there is no {unknown[0]!r} in [{table}]. Known are: {', '.join(names)}.")
    return members


@dataclass(frozen=True, slots=True)
class _Sources:
    """Where values come from, the strongest first."""

    flags: Mapping[str, object]
    environ: Mapping[str, str]
    files: list[tuple[Path, dict[str, Any]]]

    def first(self, name: str, variables: tuple[str, ...]) -> tuple[object, str | None]:
        """A setting's strongest value and its origin; the origin is None where nobody set it."""
        if name in self.flags:
            return self.flags[name], f"flag --{name.replace('_', '-')}"
        for variable in variables:
            if self.environ.get(variable):
                return self.environ[variable], f"${variable}"
        for path, members in self.files:
            if name in members:
                return members[name], str(path)
        return None, None

    def value(self, name: str, spec: _Spec) -> tuple[Any, str]:
        """A checked value and its origin."""
        raw, origin = self.first(name, spec.environment)
        if origin is None:
            return spec.default, "default"
        try:
            return spec.read(raw), origin
        except ValueError as error:
            raise SettingsError(f"{origin}: {name} {error}, got {str(raw)[:60]!r}.") from None

    def path(self, name: str, variables: tuple[str, ...], *, default: Path, root: Path) -> tuple[Path, str]:
        """A path and its origin; relative ones are in the workspace."""
        raw, origin = self.first(name, variables)
        if origin is None:
            return default, "default"
        if not isinstance(raw, str | Path) or not str(raw):
            raise SettingsError(f"{origin}: {name} must be a path.")
        try:
            path = root / Path(raw).expanduser()
        except RuntimeError:
            raise SettingsError(f"{origin}: {name} {str(raw)!r}: there is no such user's home.") from None
        if not _is_unicode(path) or "\0" in str(path):
            raise SettingsError(f"{origin}: {name} {str(raw)!r} is not UTF-8.")
        return path, origin


def _tables(
    environ: Mapping[str, str], files: list[tuple[Path, dict[str, Any]]], origins: dict[str, str]
) -> tuple[dict[str, str], tuple[str, ...] | None]:
    interpreters: dict[str, str] = {}
    origins["interpreters"] = origins["inherit"] = "default"
    inherit: tuple[str, ...] | None = None
    for path, members in reversed(files):
        runners = members.get("runners", {})
        if not isinstance(runners, dict) or not all(isinstance(value, str) for value in runners.values()):
            raise SettingsError(f'{path}: [runners] holds paths by runner name, like bun = "/usr/local/bin/bun".')
        interpreters |= runners
        if runners:
            origins["interpreters"] = str(path)
        names = members.get("environment", {}).get("inherit")
        if names is not None:
            if not isinstance(names, list) or not all(isinstance(value, str) for value in names):
                raise SettingsError(f"{path}: [environment] inherit is a list of names.")
            inherit, origins["inherit"] = tuple(names), str(path)
    for runner, variables in _INTERPRETERS.items():
        for variable in reversed(variables):
            if environ.get(variable):
                interpreters[runner] = environ[variable]
                origins["interpreters"] = f"${variable}"
    forwarded = environ.get("CODEX_FLOW_BACKEND_FORWARD_ENV")
    if forwarded is not None:
        inherit = tuple(name.strip() for name in forwarded.split(",") if name.strip())
        origins["inherit"] = "$CODEX_FLOW_BACKEND_FORWARD_ENV"
    return interpreters, inherit


def _redact(files: list[tuple[Path, dict[str, Any]]], origins: dict[str, str]) -> tuple[str, ...]:
    """The names in all files together: what somebody wants masked stays masked."""
    found: dict[str, None] = {}
    origins["redact"] = "default"
    for path, members in files:
        names = members.get("environment", {}).get("redact", [])
        if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
            raise SettingsError(f"{path}: [environment] redact is a list of names of environment variables.")
        if names:
            origins["redact"] = str(path) if not found else f"{origins['redact']}, {path}"
            found |= dict.fromkeys(names)
    return tuple(found)


def is_managed(environ: Mapping[str, str]) -> bool:
    """Whether systemd started this process (or the wrapper that did), and starts the next one.

    ``INVOCATION_ID`` alone is not enough: what is started from a terminal window inherits the terminal's. systemd 248
    and later say in ``SYSTEMD_EXEC_PID`` whom they mean.
    """
    if environ.get("NOTIFY_SOCKET"):
        return True
    meant = environ.get("SYSTEMD_EXEC_PID")
    return bool(environ.get("INVOCATION_ID")) and meant in (None, str(os.getpid()), str(os.getppid()))


def step_environment(settings: Settings, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What steps inherit: the daemon's environment, or the named part of it, less secrets and what is systemd's."""
    inherited = environ if settings.inherit is None else {n: environ[n] for n in settings.inherit if n in environ}
    private = {
        *SECRETS,
        *(settings.http.private if settings.http is not None else ()),
        "CREDENTIALS_DIRECTORY",
        "FLOWD_MARK",
        "NOTIFY_SOCKET",
        "WATCHDOG_USEC",
        "WATCHDOG_PID",
        "LISTEN_FDS",
        "LISTEN_PID",
        "LISTEN_FDNAMES",
        "INVOCATION_ID",
        "JOURNAL_STREAM",
        "MANAGERPID",
        "SYSTEMD_EXEC_PID",
        "FLOWD_DEBUG_HANG",
    }
    return {name: value for name, value in inherited.items() if name not in private}
