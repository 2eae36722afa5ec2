"""Finds the workspace, and the link that leads to it."""

import os
from pathlib import Path

from flowd.settings.values import SettingsError, WorkspaceAwayError
from flowd_client import discovery


def choose(chosen: Path | None) -> Path:
    """The workspace, without links: as it was given on the command line, or the one around us.

    Raises:
        SettingsError: It is no folder, or may not be looked at, or has a name that is not UTF-8.
    """
    root = Path(chosen).resolve() if chosen is not None else discovery.find_workspace().resolve()
    try:
        is_folder = root.is_dir()
    except PermissionError:  # a folder above it is closed
        raise SettingsError(f"You may not look at the workspace {root}. Name another with -w.") from None
    if not is_folder:
        raise WorkspaceAwayError(root)
    if not is_unicode(root):
        # Its path is in every answer, and JSON has no way to write it.
        raise SettingsError(f"The workspace's path {str(root)!r} is not UTF-8. Rename its folder.")
    return root


def swapped_link(chosen: Path | None, root: Path) -> Path | None:
    """The link that leads to the workspace, as with ``current -> releases/1``: the workspace's own name, or one above
    it whose target lies beside it. Others, like those above a home, are not there to be changed."""
    for given in (chosen, _as_typed(root)):
        if given is None:
            continue
        path = Path(os.path.abspath(given))
        for link in (path, *path.parents):
            if link.is_symlink() and (link == path or link.resolve().is_relative_to(link.parent.resolve())):
                return link
    return None


def _as_typed(root: Path) -> Path | None:
    """The workspace's path as the shell came to it: the kernel tells our working directory without links."""
    try:
        seen = Path(os.environ["PWD"])
        if not seen.is_absolute() or not seen.samefile("."):
            return None
        return next((path for path in (seen, *seen.parents) if path.resolve() == root), None)
    except (KeyError, OSError):
        return None


def is_unicode(path: Path) -> bool:
    """Whether JSON has a way to write this path."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True
