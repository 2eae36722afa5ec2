"""What a person has said about workspaces that fail the check of ownership: ``flowd trust`` and ``FLOWD_TRUST``.

It is kept outside of every workspace, because one that could vouch for itself would.
"""

import os
import shlex
from collections.abc import Mapping
from pathlib import Path

from flowd.domain.errors import StateError
from flowd.state import ownership
from flowd_client import discovery

VARIABLE = "FLOWD_TRUST"
"""Workspaces that are trusted, with colons between them; ``/folder/*`` is all below it, ``*`` all there are."""


class UntrustedError(StateError):
    """A workspace that another user can write, and nobody has vouched for."""


def require(workspace: Path, *, also: int | None = None) -> None:
    """Refuse a workspace whose files are not the caller's own word, unless a person has said that it is trusted.

    Args:
        also: See `flowd.state.ownership.problem`.

    Raises:
        UntrustedError: It says whose the path is, and how to trust it.
    """
    found = ownership.workspace_problem(workspace, also=also)
    if found is not None and not is_trusted(workspace):
        raise UntrustedError(
            f"The workspace {workspace} is not trusted: {found}, and whoever can write there decides what runs as you. "
            f"If you trust them: {shlex.join(['flowd', 'trust', str(workspace)])} (or {VARIABLE}={workspace}); else "
            "choose another workspace with -w."
        )


def is_service_of_root(workspace: Path) -> bool:
    """Whether we are root, and a system service is installed for the workspace: then looking at it and talking to its
    daemon is what root meant. Running what is in it is not."""
    root = workspace.resolve()
    if os.geteuid() != 0:
        return False
    return (discovery.find_service(root) or ("",))[0] == "system" or os.path.lexists(discovery.system_socket(root))


def require_file(path: Path) -> None:
    """Refuse a file outside the workspace that somebody else can write, unless its folder is trusted.

    Raises:
        UntrustedError: It says whose it is.
    """
    found = ownership.problem([path])
    if found is not None and not is_trusted(path.parent):
        raise UntrustedError(
            f"{path} is not trusted: {found}, and whoever can write there decides what runs as you. Correct that, or "
            f"set {VARIABLE}={path.parent}."
        )


def is_trusted(workspace: Path, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether a person has vouched for the workspace.

    Raises:
        StateError: The list of trusted workspaces is not the caller's own word.
    """
    place = os.path.realpath(workspace)
    said = filter(None, environ.get(VARIABLE, "").split(":"))
    return any(_covers(entry, place) for entry in said) or place in listed(environ)


def _covers(entry: str, place: str) -> bool:
    if entry == "*":
        return True
    folder, _, rest = entry.rpartition("/")
    if rest == "*":
        return place.startswith(os.path.join(os.path.realpath(folder or "/"), ""))
    return os.path.realpath(entry) == place


def list_path(environ: Mapping[str, str] = os.environ) -> Path:
    """The file with the trusted workspaces, one a line."""
    configured = environ.get("XDG_CONFIG_HOME")
    return Path(configured or os.path.expanduser("~/.config")) / "flowd" / "trusted"


def listed(environ: Mapping[str, str] = os.environ) -> list[str]:
    """The workspaces that were trusted with ``flowd trust``.

    Raises:
        StateError: Somebody else can write the list, or it cannot be read.
    """
    path = list_path(environ)
    try:
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []
    except OSError as error:
        raise StateError(f"Cannot read {path}: {error.strerror}.") from error
    if found := ownership.problem([path]):
        raise StateError(
            f"The list of trusted workspaces is not to be trusted: {found}. Correct that, or remove {path}."
        )
    return [line for line in text.split("\n") if line]


def add(workspace: Path, environ: Mapping[str, str] = os.environ) -> bool:
    """Trust a workspace from now on. False where it is trusted already."""
    place, known = os.path.realpath(workspace), listed(environ)
    if place in known:
        return False
    _write([*known, place], environ)
    return True


def remove(workspace: Path, environ: Mapping[str, str] = os.environ) -> bool:
    """Trust a workspace no longer. False where it was not trusted by the list."""
    place, known = os.path.realpath(workspace), listed(environ)
    if place not in known:
        return False
    _write([line for line in known if line != place], environ)
    return True


def _write(places: list[str], environ: Mapping[str, str]) -> None:
    path = list_path(environ)
    if bad := next((place for place in places if "\n" in place), None):
        raise StateError(f"The path {bad!r} has a line's end in it. Rename its folder.")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = path.with_name(f"{path.name}.{os.getpid()}.new")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.writelines(f"{place}\n" for place in places)
        new.replace(path)
    except OSError as error:
        raise StateError(f"Cannot write {path}: {error.strerror}.") from error
