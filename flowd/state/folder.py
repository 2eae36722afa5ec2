"""Makes the state folder safe for its owner, and notices when somebody removes or replaces what is in it."""

import errno
import os
import sqlite3
import stat
from collections.abc import Iterable
from pathlib import Path

from flowd.domain.errors import StateError
from flowd.state import files

DATABASE = "flowd.db"
OUTPUT = "output"
REACH = "reach"
ROUNDS = "rounds"
WATCHES = "watches"
KEEPER = "keeper"
LOCK = "daemon.lock"
DRAFT = "draft"
"""Where another state is made before it takes the place of this one."""

_WRITTEN_INTO = (KEEPER, f"{KEEPER}/units", REACH, f"{REACH}/bin", ROUNDS, WATCHES)

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_DISK_CODES = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)


def prepare(folder: Path, workspace: Path | None = None, *, is_replaced: bool = False) -> None:
    """Make the folder, or check it: only its owner may open it, there is no link in it, and git ignores it.

    Args:
        workspace: Below it, no link may lead to the folder.
        is_replaced: What is in it is about to be replaced, whatever state that is in.

    Raises:
        StateError: It cannot be made, belongs to somebody else, others could write to it, or a link is in the way.
    """
    try:
        if (link := find_link(folder, workspace)) is not None:
            raise StateError(
                f"{link} is a link, to {os.readlink(link)}, and flowd follows none where its state is. Remove it, or "
                "set FLOWD_STATE_DIR to the folder that is meant."
            )
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
        if status.st_uid != os.geteuid():
            raise StateError(
                f"{folder} belongs to user {status.st_uid}, not to you. Set FLOWD_STATE_DIR to a folder of yours."
            )
        if stat.S_IMODE(status.st_mode) & 0o022:
            raise StateError(
                f"Others can write to {folder}, and so could start processes as you. Run: chmod 700 {folder}"
            )
        folder.chmod(0o700)
        if not is_replaced:
            _refuse_emptied(folder)
            _refuse_half_replaced(folder)
        for name in (OUTPUT, KEEPER):
            (folder / name).mkdir(mode=0o700, exist_ok=True)
        ignore_in_git(folder)
    except OSError as error:
        raise unusable(folder, error) from error


def _refuse_emptied(folder: Path) -> None:
    """Refuse a database that was emptied or replaced: SQLite would take it for a new one, and all would be forgotten.

    One of a first start that was killed in its first moment is as empty, but then there was no keeper yet.
    """
    database = folder / DATABASE
    if database.exists() and database.stat().st_size == 0 and (folder / KEEPER / "keeper.journal").exists():
        raise StateError(
            f"{database} is empty, though flowd has worked here: somebody emptied or replaced it. Restore it from a "
            "backup; or remove it, with its -wal and -shm, to begin anew."
        )


def _refuse_half_replaced(folder: Path) -> None:
    """Refuse a folder in which a restore has died between the old database and the new one."""
    if (folder / DRAFT / DATABASE).exists() and not (folder / DATABASE).exists():
        raise StateError(
            f"{folder} has no database: putting another one there was cut off. Do that again (`flowd restore` or "
            f"`flowd store copy --back`); or move back what is in the newest {folder}/replaced-N; or, to begin "
            f"anew, remove {folder / DRAFT}."
        )


def find_link(folder: Path, workspace: Path | None = None) -> Path | None:
    """A link that would lead flowd's writes elsewhere: between the workspace and the state folder, or in that.

    Output files are left out: each is made new, and read without following. So is what steps import, which are links
    of ours.
    """
    if workspace is not None and (link := files.first_link(folder, workspace)) is not None:
        return link
    for inside in (folder, *(folder / name for name in _WRITTEN_INTO)):
        try:
            with os.scandir(inside) as listed:
                found = sorted(entry.name for entry in listed if entry.is_symlink())
        except (FileNotFoundError, NotADirectoryError):
            continue
        if found:
            return inside / found[0]
    return None


def ignore_in_git(folder: Path) -> None:
    """Keep a folder and all that is in it out of git."""
    ignore = folder / ".gitignore"
    if not os.path.lexists(ignore):
        files.write_text(ignore, "*\n")


def unusable(folder: Path, error: OSError) -> StateError:
    """The error for a system call that failed in the state folder."""
    remedy = "Free some space" if error.errno in _NO_ROOM else "Move what is in the way"
    return StateError(
        f"Cannot use {error.filename or folder} for flowd's state: {error.strerror}. {remedy}, or set FLOWD_STATE_DIR "
        "to another folder."
    )


def is_disk_failure(error: BaseException) -> bool:
    """Whether an error comes from a full or failing disk, which may work again later."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in (*_NO_ROOM, errno.EIO):
            return True
        if isinstance(cause, sqlite3.Error) and getattr(cause, "sqlite_errorcode", 0) & 0xFF in _DISK_CODES:
            return True
        cause = cause.__cause__
    return False


class Presence:
    """Notices when files are removed, or replaced by others of the same name."""

    def __init__(self, paths: Iterable[Path]) -> None:
        """Remember the files at the paths. Paths without a file are left out."""
        self._known = {path: identity for path in paths if (identity := _identity(path)) is not None}

    def lost(self) -> Path | None:
        """The first file that was removed or replaced; None while all are there."""
        return next((path for path, identity in self._known.items() if _identity(path) != identity), None)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
