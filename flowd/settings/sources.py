"""Gathers the settings: flags > environment > the workspace's file > the user's file > defaults."""

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from flowd.api.http.config import HttpConfig
from flowd.domain.retention import Rule
from flowd.domain.secrets import SecretSource
from flowd.formats.typed import Field, convert, fields_of, from_text
from flowd.notifiers.config import NotifierConfig
from flowd.settings import host as settings_host
from flowd.settings import http as settings_http
from flowd.settings import retention as settings_retention
from flowd.settings import store as settings_store
from flowd.settings.counting import counting
from flowd.settings.files import SETTINGS_FILE, SettingsFile, read_files
from flowd.settings.host import HostTable
from flowd.settings.notify import read_notifiers
from flowd.settings.shown import Showing, variables_of
from flowd.settings.step_secrets import read_secrets
from flowd.settings.store import StoreAddress
from flowd.settings.tables import Environment, Runners, Tables
from flowd.settings.values import DEFAULT_WHERE_MANAGED, Settings, SettingsError, Simple, is_managed
from flowd.settings.workspace import choose, is_unicode, swapped_link
from flowd.state import place, trust
from flowd.state.folder import DATABASE
from flowd_client import discovery, wire

T = TypeVar("T")

_SIMPLE = fields_of(Simple)
_ALL = fields_of(Tables)

_INTERPRETERS = {name: field.about.variables for name, field in fields_of(Runners).items()}
_USER_FILE = Path("flowd", "config.toml")

_UNFENCED = (
    '{executor}: executor "systemd" has nobody to end a step when its host has lost the store ({store}), and another '
    'host may have its run by then. Set executor = "direct", or use the store in the state folder.'
)


def _variables(name: str) -> tuple[str, ...]:
    return variables_of("", _ALL[name])


VARIABLES = frozenset(
    variable
    for variables in (*map(_variables, (*_SIMPLE, "state_dir", "socket")), *_INTERPRETERS.values())
    for variable in variables
) | {settings_store.VARIABLE, settings_host.NAME_VARIABLE, settings_host.LABELS_VARIABLE}
"""Environment variables that set a value."""


def load(
    workspace: Path | None = None,
    flags: Mapping[str, object] | None = None,
    environ: Mapping[str, str] = os.environ,
    home: Path | None = None,
    *,
    is_vouched: bool = False,
    also: int | None = None,
) -> Settings:
    """Gather the settings.

    Args:
        workspace: As given on the command line; None finds the enclosing one.
        flags: From the command line, by setting name; None values count as not given.
        is_vouched: Whose the workspace is does not matter: somebody has named it who may decide that.
        also: A user beside us whose workspace it may be, see `flowd.state.ownership.problem`.

    Raises:
        SettingsError: A value or a file cannot be used.
        UntrustedError: Another user can write to the workspace or to our own settings, and nobody has vouched for it.
    """
    flags = {name: value for name, value in (flags or {}).items() if value is not None}
    unknown = set(flags) - set(_SIMPLE) - {"state_dir", "socket", "http", "http_open"}
    if unknown:
        raise SettingsError(f"There is no setting {min(unknown)!r}.")
    root = choose(workspace)
    environ = discovery.meant_for(root, environ)
    if not is_vouched:
        trust.require(root, also=also)
    user_file = _user_file(user_path(environ) if home is None else home / _USER_FILE)
    closed = user_file if user_file is not None and _is_behind_closed_folder(user_file) else None
    user_file = None if closed else user_file
    paths = (root / ".codex" / SETTINGS_FILE, *([user_file] if user_file else []))
    files, doubts = read_files(paths)
    sources = _Sources(flags, environ, files, root)
    sources.origins["workspace"] = "flag -w" if workspace is not None else "found"
    values = {name: sources.value(field) for name, field in _SIMPLE.items()}
    values["executor"] = values["executor"].removesuffix("-run")
    if sources.origins["on_stop"] == "default" and is_managed(environ):
        values["on_stop"], sources.origins["on_stop"] = "keep", DEFAULT_WHERE_MANAGED
    store = sources.store()
    if store is not None and values["executor"] == "systemd":
        raise SettingsError(_UNFENCED.format(executor=sources.origins["executor"], store=sources.origins["store"]))
    state_dir = sources.path("state_dir", default=root / wire.STATE_DIR)
    if sources.origins["state_dir"] == str(paths[0]):
        _refuse_to_take_over(state_dir, root, paths[0])
    settings = Settings(
        workspace=root,
        closed=closed,
        link=swapped_link(workspace, root),
        state_dir=state_dir,
        socket=sources.path("socket", default=state_dir / wire.SOCKET_NAME),
        interpreters=sources.interpreters(),
        inherit=sources.inherit(),
        http=sources.http(values["max_payload_bytes"]),
        redact=sources.redact(),
        withhold=sources.withhold(),
        secrets=sources.secrets(),
        notifiers=sources.notifiers(),
        store=store,
        host=sources.host(),
        labels=sources.labels(),
        retention=sources.retention(),
        named_by_workspace=sources.named_by_workspace(),
        is_vouched=is_vouched,
        origins=sources.origins,
        doubts=doubts,
        **values,
    )
    return replace(
        settings, table=tuple(shown.view() for shown in Showing(files, counting(settings, flags, environ)).all())
    )


def _refuse_to_take_over(state_dir: Path, root: Path, file: Path) -> None:
    """A workspace may come from a clone: its file alone does not make flowd move into a folder that is used already."""
    if state_dir.resolve().is_relative_to(root):
        return
    if (other := place.other_workspace(state_dir, root)) is not None:
        raise SettingsError(
            f"{file}: state_dir {state_dir} is outside of the workspace, and has the state of another one, {other}. "
            "Name a folder of its own, or set FLOWD_STATE_DIR."
        )
    try:
        is_ours = (state_dir / DATABASE).is_file() or place.recorded(state_dir) is not None
        is_used = any(state_dir.iterdir()) and not is_ours
    except OSError:
        is_used = False  # not there, or closed to us: whoever opens it is told
    if is_used:
        raise SettingsError(
            f"{file}: state_dir {state_dir} is outside of the workspace, and has things in it that are not flowd's. "
            "Name an empty folder, or set FLOWD_STATE_DIR."
        )


def user_path(environ: Mapping[str, str]) -> Path | None:
    """Where the user's settings are; None for a user without a home, as a container may have it."""
    if configured := environ.get("XDG_CONFIG_HOME"):
        return Path(configured) / _USER_FILE
    try:
        return Path.home() / ".config" / _USER_FILE
    except RuntimeError:
        return None


def _user_file(path: Path | None) -> Path | None:
    if path is not None and os.path.lexists(path):
        trust.require_file(path)
    return path


def _is_behind_closed_folder(path: Path) -> bool:
    """Whether a folder above a path cannot be entered, as with systemd's ``ProtectHome=yes``."""
    try:
        path.stat()
    except PermissionError:
        return True
    except OSError:
        pass
    return False


class _Sources:
    """Where values come from, the strongest first. Each question notes in `origins` where its answer is from."""

    def __init__(
        self, flags: Mapping[str, object], environ: Mapping[str, str], files: Sequence[SettingsFile], root: Path
    ) -> None:
        self._flags = flags
        self._environ = environ
        self._files = files
        self._root = root
        self.origins: dict[str, str] = {}

    def _first(self, name: str) -> tuple[object, str | None]:
        """A setting's strongest value and its origin; the origin is None where nobody set it."""
        if name in self._flags:
            return self._flags[name], f"flag --{name.replace('_', '-')}"
        for variable in _variables(name):
            if self._environ.get(variable):
                return self._environ[variable], f"${variable}"
        for file in self._files:
            if name in file.members:
                return file.members[name], str(file.path)
        return None, None

    def value(self, field: Field) -> Any:
        """One of the simple settings, checked."""
        raw, origin = self._first(field.name)
        self.origins[field.name] = origin or "default"
        if origin is None:
            return field.default
        try:
            return convert(from_text(raw, field.type), field.type)
        except ValueError as error:
            raise SettingsError(f"{origin}: {field.name} {error}") from None

    def path(self, name: str, *, default: Path) -> Path:
        """A path; relative ones are in the workspace."""
        raw, origin = self._first(name)
        self.origins[name] = origin or "default"
        if origin is None:
            return default
        if not isinstance(raw, str | Path) or not str(raw):
            raise SettingsError(f"{origin}: {name} must be a path.")
        try:
            path = self._root / Path(raw).expanduser()
        except RuntimeError:
            raise SettingsError(f"{origin}: {name} {str(raw)!r}: there is no such user's home.") from None
        if not is_unicode(path) or "\0" in str(path):
            raise SettingsError(f"{origin}: {name} {str(raw)!r} is not UTF-8.")
        return path

    def interpreters(self) -> dict[str, str]:
        """Each runner's interpreter from its strongest source."""
        found: dict[str, str] = {}
        for runner, variables in _INTERPRETERS.items():
            said = [(self._environ.get(variable), f"${variable}") for variable in variables]
            said += [(getattr(file.tables.runners or Runners(), runner), str(file.path)) for file in self._files]
            path, origin = next(((path, origin) for path, origin in said if path), (None, "default"))
            self.origins[f"runners.{runner}"] = origin
            if path is not None:
                found[runner] = path
        return found

    def inherit(self) -> tuple[str, ...] | None:
        """The names of the strongest source that has some; None where nobody restricts what steps inherit."""
        forwarded = self._environ.get("CODEX_FLOW_BACKEND_FORWARD_ENV")
        if forwarded is not None:
            self.origins["inherit"] = "$CODEX_FLOW_BACKEND_FORWARD_ENV"
            return tuple(name.strip() for name in forwarded.split(",") if name.strip())
        for file in self._files:
            if file.tables.environment is not None and file.tables.environment.inherit is not None:
                self.origins["inherit"] = str(file.path)
                return file.tables.environment.inherit
        self.origins["inherit"] = "default"
        return None

    def http(self, max_payload_bytes: int) -> HttpConfig | None:
        """The HTTP shim."""
        return self._noted(
            "http",
            lambda: settings_http.load(
                self._flags.get("http"),
                self._environ,
                self._files,
                root=self._root,
                max_payload_bytes=max_payload_bytes,
                is_open=bool(self._flags.get("http_open")),
            ),
        )

    def store(self) -> StoreAddress | None:
        """The address of the shared store; None for the one in the state folder."""
        said = [(file.path, file.members.get("store")) for file in self._files]
        return self._noted("store", lambda: settings_store.load(self._environ, said, self._root))

    def host(self) -> str:
        """What this host is called."""
        said = [(file.path, file.tables.host or HostTable()) for file in self._files]
        return self._noted("host", lambda: settings_host.name(self._environ, said, socket.gethostname))

    def labels(self) -> tuple[str, ...]:
        """The labels that somebody gave this host."""
        said = [(file.path, file.tables.host or HostTable()) for file in self._files]
        return self._noted("labels", lambda: settings_host.labels(self._environ, said))

    def retention(self) -> tuple[Rule, ...]:
        """How long what has ended is kept; nothing is forgotten where nobody says."""
        said = [(file.path, file.tables.retention) for file in self._files]
        return self._noted("retention", lambda: settings_retention.load(said))

    def _noted(self, name: str, read: Callable[[], tuple[T, str]]) -> T:
        """What a module of its own reads, whose origin it tells."""
        try:
            value, self.origins[name] = read()
        except ValueError as error:
            raise SettingsError(str(error)) from None
        return value

    def redact(self) -> tuple[str, ...]:
        """The names in all files together: what somebody wants masked stays masked."""
        return self._together("redact")

    def withhold(self) -> tuple[str, ...]:
        """The patterns in all files together, for the same reason."""
        return self._together("withhold")

    def _together(self, name: str) -> tuple[str, ...]:
        said = {file.path: getattr(file.tables.environment or Environment(), name) for file in self._files}
        self.origins[name] = ", ".join(str(path) for path, names in said.items() if names) or "default"
        return tuple(dict.fromkeys(each for names in said.values() for each in names))

    def secrets(self) -> dict[str, SecretSource]:
        """Where the secrets of steps are kept."""
        said = [file for file in self._files if file.tables.secrets]
        self.origins["secrets"] = ", ".join(str(file.path) for file in said) or "default"
        return read_secrets([file.tables.secrets or {} for file in said], self._root)

    def notifiers(self) -> tuple[NotifierConfig, ...]:
        """Who is told of failures and questions."""
        said = [file for file in self._files if file.tables.notify]
        self.origins["notifiers"] = ", ".join(str(file.path) for file in said) or "default"
        return read_notifiers([file.members["notify"] for file in said], self._root)

    def named_by_workspace(self) -> frozenset[str]:
        """The runners whose interpreter comes from the workspace's file, and from nothing stronger."""
        workspace = self._files[0].tables.runners or Runners()
        return frozenset(
            runner
            for runner, variables in _INTERPRETERS.items()
            if getattr(workspace, runner) is not None and not any(self._environ.get(name) for name in variables)
        )
