"""The id of this state folder among hosts that share a store: two of one name are told apart by it."""

import hashlib
import os
import re
from pathlib import Path

from flowd.domain.errors import StateError
from flowd.state import files

HOST_ID = "host.id"

_is_id = re.compile(r"[0-9a-f]{32}").fullmatch


def here(folder: Path) -> str:
    """What tells this state folder, on this machine, from others and from copies of itself: a copy must not take what
    the original still runs for what it has left running itself.

    Raises: As `read_or_make`.
    """
    place = f"{read_or_make(folder)}\0{_machine()}\0{folder.resolve()}"
    return hashlib.sha256(os.fsencode(place)).hexdigest()[:32]


def _machine() -> str:
    """systemd's id of this machine; empty where there is none."""
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        try:
            return Path(path).read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            continue
    return ""


def read_or_make(folder: Path) -> str:
    """The folder's id, made at the first call; from then on it stays the same. Atomic: of several first calls at once,
    one decides.

    Raises:
        StateError: There is a file, and none of ours.
        OSError: It can be neither read nor made.
    """
    path = folder / HOST_ID
    if (found := _read(path)) is None:
        made = folder / f"{HOST_ID}.{os.getpid()}.new"
        files.write_text(made, f"{os.urandom(16).hex()}\n")
        try:
            os.link(made, path)  # unlike a rename, it leaves what another call has made
        except FileExistsError:
            pass
        finally:
            made.unlink()
        found = _read(path)
    if found is None or not _is_id(found):
        raise StateError(f"{path} has no id of flowd's in it. Remove it: the next start makes another one.")
    return found


def _read(path: Path) -> str | None:
    try:
        with open(files.open_own(path, os.O_RDONLY), encoding="ascii", errors="replace") as file:
            return file.read(100).strip()
    except FileNotFoundError:
        return None
