"""Where the workspace is, and where its daemon listens. Reads the environment and the disk, connects to nothing."""

import os
import re
import stat
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from flowd_client import small_file
from flowd_client.errors import invalid_params
from flowd_client.wire import SOCKET_NAME, SOCKET_POINTER, STATE_DIR, TRACEPARENT

_MARKERS = (STATE_DIR, ".codex/flows", ".codex/flowd.toml")
"""Not ``.codex`` alone: that would make every home folder a workspace."""

SYSTEM_SOCKETS = Path("/run/flowd-sockets")
"""Where the sockets of system services are, each at the path of its workspace."""

HTTP_TOKEN = "http-token"  # noqa: S105 - a file's name
"""In the state folder: what lets its owner into an HTTP API that was given no secret."""

WORKSPACE_VARIABLES = ("FLOWD_WORKSPACE", "CODEX_FLOW_BACKEND_CWD")
_STATE_VARIABLES = ("FLOWD_STATE_DIR", "CODEX_FLOW_BACKEND_DATA_DIR")

STEP_WORKSPACE = "FLOWD_STEP_WORKSPACE"
"""Tells a step the workspace that it runs for. Nothing takes it as a setting."""

REHEARSAL = "FLOWD_REHEARSAL"
"""Tells a step that somebody only tries it out, and the socket of who does. Every client in it speaks to that one, and
to no daemon, wherever its caller says that one is: what it sends there is told, and starts nothing elsewhere."""

_OF_STEPS_DAEMON = ("FLOWD_SOCKET", "FLOWD_HTTP", *_STATE_VARIABLES)
"""Inside a step, these speak of the daemon that started it."""


def find_workspace(start: str | Path | None = None) -> Path:
    """The workspace that a command in ``start`` belongs to, absolute.

    Without ``start``: ``$FLOWD_WORKSPACE``, else ``$CODEX_FLOW_BACKEND_CWD``, else as if ``start`` were the working
    directory. With it: the nearest of it and its ancestors that has ``.codex/flowd``, ``.codex/flows``,
    ``.codex/flowd.toml`` or a ``flows`` folder with a package in it; else ``start`` itself.
    """
    if start is None:
        for name in WORKSPACE_VARIABLES:
            if value := os.environ.get(name):
                return Path(value).expanduser().absolute()
    begin = Path(start).expanduser().absolute() if start is not None else _working_folder()
    return next((folder for folder in (begin, *begin.parents) if is_workspace(folder)), begin)


def _working_folder() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise invalid_params("The working folder was deleted. Go to another one, or name the workspace.") from None


def is_workspace(folder: Path) -> bool:
    """Whether the folder looks like a workspace."""
    if any(os.path.exists(folder / marker) for marker in _MARKERS):  # false where we may not look
        return True
    try:
        return any(True for _ in (folder / "flows").glob("*/flow.toml"))
    except OSError:
        return False


def run_around() -> str | None:
    """The id of the run whose step the program around us is; None outside steps."""
    return os.environ.get("FLOWD_RUN_ID") or None


def trace_around() -> str | None:
    """The ``TRACEPARENT`` of the environment, if it is one; what is none is ignored, as W3C Trace Context has it."""
    said = os.environ.get("TRACEPARENT", "")
    return said if re.fullmatch(TRACEPARENT, said) else None


def meant_at(params: Mapping[str, Any], socket: Path) -> Mapping[str, Any]:
    """Parameters as they are meant for the daemon at this socket: without the run around us where that is another one
    than the step's own. Its runs have names of their own, and the same event has the same ones there."""
    told = os.environ.get("FLOWD_SOCKET")
    if not told or params.get("causedBy", "") != run_around():
        return params
    with suppress(OSError):
        if os.path.samefile(told, socket):
            return params
    return by_nobody(params)


def by_nobody(params: Mapping[str, Any]) -> Mapping[str, Any]:
    """Parameters without the run around us."""
    return {name: value for name, value in params.items() if name != "causedBy"}


def is_in_step() -> bool:
    """Whether flowd started the program around us as a step."""
    return bool(os.environ.get("FLOWD_RUN_ID"))


def rehearsal_socket() -> Path | None:
    """The socket that every client speaks to in a step that is only tried out; None elsewhere. See `REHEARSAL`."""
    told = os.environ.get(REHEARSAL)
    return Path(told) if told else None


def meant_for(workspace: Path, environ: Mapping[str, str] | None = None) -> Mapping[str, str]:
    """The environment as it is meant for a workspace that somebody has named, absolute and without links.

    Inside a step of another workspace it is less where that one's daemon has its sockets and its state: a named
    workspace would else be taken for the step's own.
    """
    environ = os.environ if environ is None else environ
    if not environ.get("FLOWD_RUN_ID") or environ.get(STEP_WORKSPACE) == str(workspace):
        return environ
    return {name: value for name, value in environ.items() if name not in _OF_STEPS_DAEMON}


def find_socket(workspace: str | Path, *, is_named: bool = False) -> Path:
    """Where the workspace's daemon listens, whether or not one does now.

    In a step that is only tried out it is the socket of who does, see `REHEARSAL`. Else, as the daemon's own settings
    say: ``$FLOWD_SOCKET``, else ``socket`` in ``.codex/flowd.toml`` or the user's file,
    else ``flowd.sock`` in `state_dir`. A daemon for which that path was too long leaves ``flowd.sock.path`` beside it,
    with the path that it took instead. A system service's socket is in ``/run/flowd-sockets``, made
    by systemd before there is a daemon that could leave word.

    Args:
        is_named: The workspace was named, and not found. Inside a step of another one, the environment is not asked
            then: what it says is of that one's daemon.
    """
    if (rehearsal := rehearsal_socket()) is not None:
        return rehearsal
    root = Path(workspace).expanduser().resolve()
    environ = meant_for(root) if is_named else os.environ
    state = _setting(root, "state_dir", _STATE_VARIABLES, environ) or root / STATE_DIR
    wanted = _setting(root, "socket", ("FLOWD_SOCKET",), environ) or state / SOCKET_NAME
    if os.path.exists(wanted):  # false where we may not look: the connection says why
        return wanted
    pointer = wanted.with_name(SOCKET_POINTER.replace(SOCKET_NAME, wanted.name))
    try:
        pointed = small_file.read(pointer).decode("utf-8", "surrogateescape").strip()
    except OSError:
        pointed = ""
    if pointed:
        return wanted.parent / pointed
    system = system_socket(root)
    return system if system.exists() else wanted


def system_socket(workspace: Path) -> Path:
    """Where systemd holds the socket of a system service.

    >>> str(system_socket(Path("/srv/my-app")))
    '/run/flowd-sockets/srv/my-app.sock'
    """
    if is_plain(workspace):
        return Path(f"{SYSTEM_SOCKETS}{workspace}.sock")
    from hashlib import sha256  # noqa: PLC0415 - few workspaces need it

    return SYSTEM_SOCKETS / f"{sha256(os.fsencode(workspace)).hexdigest()[:16]}.sock"


def is_plain(path: Path) -> bool:
    """Whether systemd keeps a socket at this path: of one that it would write escaped, 252 loses it at a daemon-reload.

    >>> is_plain(Path("/srv/my app")), is_plain(Path("/srv/Über")), is_plain(Path("/srv/it's"))
    (True, False, False)
    """
    return all(" " <= letter <= "~" and letter not in "\"'\\" for letter in str(path))


def workspace_of(socket: Path) -> Path | None:
    """The workspace in whose usual place a socket lies; None for one that lies elsewhere.

    >>> str(workspace_of(Path("/srv/my-app/.codex/flowd/flowd.sock")))
    '/srv/my-app'
    >>> str(workspace_of(Path("/run/flowd-sockets/srv/my-app.sock")))
    '/srv/my-app'
    """
    if socket.parts[-3:-1] == tuple(STATE_DIR.split("/")):
        return socket.parents[2]
    if socket.is_relative_to(SYSTEM_SOCKETS) and socket.suffix == ".sock":
        return Path("/") / socket.relative_to(SYSTEM_SOCKETS).with_suffix("")
    return None


def find_service(workspace: Path) -> tuple[str, str] | None:
    """``user`` or ``system``, and the name, of the systemd service that somebody installed for a workspace, whether or
    not it runs; None where there is none."""
    unit = f"flowd@{systemd_escape(workspace)}.service"
    folders = (("user", user_dir() / "systemd/user"), ("system", Path("/etc/systemd/system")))
    for scope, folder in folders:
        for place in (folder, folder / "default.target.wants", folder / "multi-user.target.wants"):
            if os.path.lexists(place / unit):
                return scope, unit
    return None


def systemd_escape(path: Path) -> str:
    """A path as the instance of a systemd unit, like ``systemd-escape --path`` makes it.

    >>> systemd_escape(Path("/srv/my-app")), systemd_escape(Path("/"))
    ('srv-my\\\\x2dapp', '-')
    """
    parts = [part for part in path.parts if part != "/"]
    if not parts:
        return "-"
    kept = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:_.")
    text = os.fsencode("/".join(parts))
    letters = (
        "-" if byte == ord("/") else chr(byte) if byte in kept and (index or byte != ord(".")) else f"\\x{byte:02x}"
        for index, byte in enumerate(text)
    )
    return "".join(letters)


def state_dir(workspace: Path) -> Path:
    """Where the workspace's daemon keeps its state: ``<workspace>/.codex/flowd`` unless a setting says otherwise."""
    return _setting(workspace, "state_dir", _STATE_VARIABLES, os.environ) or workspace / STATE_DIR


def runtime_folders() -> tuple[Path, ...]:
    """Where flowd leaves what is of no use after a reboot: the first is where it writes, the others may hold what a
    daemon with another environment left."""
    from tempfile import gettempdir  # noqa: PLC0415 - with compressors and random numbers, for few who find a daemon

    runtime = os.environ.get("XDG_RUNTIME_DIR")
    user = os.geteuid()
    usual = (Path(f"/run/user/{user}/flowd"), Path(gettempdir()) / f"flowd-{user}")
    return (Path(runtime) / "flowd", *usual) if runtime else usual[::-1]


def is_own(folder: Path) -> bool:
    """Whether a folder is ours, and nobody else can look into it."""
    try:
        status = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o077


def http_pointer(port: int) -> str:
    """The file in a runtime folder that holds the path of the token for a port of this machine."""
    return f"http-{port}"


def _setting(workspace: Path, key: str, variables: tuple[str, ...], environ: Mapping[str, str]) -> Path | None:
    for name in variables:
        if value := environ.get(name):
            return workspace / Path(value).expanduser()
    for file in (workspace / ".codex/flowd.toml", user_dir() / "flowd/config.toml"):
        if value := _configured(file, key):
            return workspace / Path(value).expanduser()
    return None


def user_dir() -> Path:
    """Where the user's settings are."""
    # Unlike Path.home, this is no error for a user without a home, as a container may have it.
    return Path(os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config"))


def _configured(file: Path, key: str) -> str | None:
    """A path from a settings file. A file that cannot be read is the daemon's to complain about."""
    try:
        text = small_file.read(file).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return None
    if key not in text:
        return None
    import tomllib  # noqa: PLC0415 - few workspaces have such a file, and the import costs 5 ms

    try:
        value = tomllib.loads(text).get(key)
    except tomllib.TOMLDecodeError:
        return None
    return value if isinstance(value, str) and value else None


MAX_SOCKET_PATH_BYTES = 107 if sys.platform == "linux" else 103
"""``sun_path`` less its final NUL: 108 bytes on Linux, 104 on macOS and the BSDs."""
