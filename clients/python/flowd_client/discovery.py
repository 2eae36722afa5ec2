"""Where the workspace is, and where its daemon listens. Reads the environment and the disk, connects to nothing."""

import os
import sys
from pathlib import Path

from flowd_client.wire import SOCKET_NAME, SOCKET_POINTER, STATE_DIR

_MARKERS = (STATE_DIR, ".codex/flows", ".codex/flowd.toml")
"""Not ``.codex`` alone: that would make every home folder a workspace."""

_WORKSPACE_VARIABLES = ("FLOWD_WORKSPACE", "CODEX_FLOW_BACKEND_CWD")


def find_workspace(start: str | Path | None = None) -> Path:
    """The workspace that a command in ``start`` belongs to, absolute.

    Without ``start``: ``$FLOWD_WORKSPACE``, else ``$CODEX_FLOW_BACKEND_CWD``, else as if ``start`` were the working
    directory. With it: the nearest of it and its ancestors that has ``.codex/flowd``, ``.codex/flows``,
    ``.codex/flowd.toml`` or a ``flows`` folder with a package in it; else ``start`` itself.
    """
    if start is None:
        for name in _WORKSPACE_VARIABLES:
            if value := os.environ.get(name):
                return Path(value).expanduser().absolute()
    begin = Path(start).expanduser().absolute() if start is not None else Path.cwd()
    return next((folder for folder in (begin, *begin.parents) if is_workspace(folder)), begin)


def is_workspace(folder: Path) -> bool:
    """Whether the folder looks like a workspace."""
    if any((folder / marker).exists() for marker in _MARKERS):
        return True
    try:
        return any(True for _ in (folder / "flows").glob("*/flow.toml"))
    except OSError:
        return False


def state_dir(workspace: Path) -> Path:
    """Where the workspace's daemon keeps its state: ``$FLOWD_STATE_DIR``, else ``<workspace>/.codex/flowd``."""
    value = os.environ.get("FLOWD_STATE_DIR")
    if value:
        return workspace / Path(value).expanduser()
    return _configured(workspace, "state_dir") or workspace / STATE_DIR


def find_socket(workspace: str | Path) -> Path:
    """Where the workspace's daemon listens, whether or not one does now.

    ``$FLOWD_SOCKET``, else ``flowd.sock`` in the state folder, else the path that ``flowd.sock.path`` in it holds
    (which a daemon writes whose socket's path would be too long).
    """
    root = Path(workspace).expanduser().absolute()
    if value := os.environ.get("FLOWD_SOCKET"):
        return root / Path(value).expanduser()
    folder = state_dir(root)
    socket_path = folder / SOCKET_NAME
    if socket_path.exists():
        return socket_path
    try:
        pointed = (folder / SOCKET_POINTER).read_text(encoding="utf-8", errors="surrogateescape").strip()
    except OSError:
        pointed = ""
    return folder / pointed if pointed else _configured(root, "socket") or socket_path


def _configured(workspace: Path, key: str) -> Path | None:
    """A path from the workspace's own settings file. A file that cannot be read is the daemon's to complain about."""
    try:
        text = (workspace / ".codex/flowd.toml").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    if key not in text:
        return None
    import tomllib  # noqa: PLC0415 - few workspaces have such a file, and the import costs 5 ms

    try:
        value = tomllib.loads(text).get(key)
    except tomllib.TOMLDecodeError:
        return None
    return workspace / Path(value).expanduser() if isinstance(value, str) and value else None


MAX_SOCKET_PATH_BYTES = 107 if sys.platform == "linux" else 103
"""``sun_path`` less its final NUL: 108 bytes on Linux, 104 on macOS and the BSDs."""
