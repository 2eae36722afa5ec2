"""Lets a state folder know its own place, so that a copy or a clone is not taken for what it was copied from.

The processes that a copied state speaks of are the original's: the same boot, pid and start time say that it is the
same process, but not that it is ours.
"""

import json
import os
import stat
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from flowd.state import checked_in, files
from flowd.state.folder import DATABASE, KEEPER
from flowd_client import discovery, wire

RECORD = "place.json"
_MACHINE_IDS = ("/etc/machine-id", "/var/lib/dbus/machine-id")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a state folder is.

    Attributes:
        machine: Empty where it has no id, as in many containers.
        workspace: Whose state it is; empty where an earlier flowd has left that out.
    """

    inode: int
    path: str
    machine: str
    workspace: str = ""

    def is_of(self, other: "Place") -> bool:
        """Whether a folder that was there is the one that is here.

        It is after a move, which keeps the inode, after a backup was put back in its place, and in a container whose
        machine id is new with every start.
        """
        is_other_machine = self.machine and other.machine and self.machine != other.machine
        return self.inode == other.inode or not (self.path != other.path or is_other_machine)


def here(folder: Path) -> Place:
    """The place that a folder is in now."""
    return Place(folder.stat().st_ino, os.path.realpath(folder), _machine())


def recorded(folder: Path) -> Place | None:
    """The place that a state folder was in when a daemon last had it; None where that is not known."""
    try:
        with open(files.open_own(folder / RECORD, os.O_RDONLY), "rb") as file:
            members = json.loads(file.read(1 << 16))
        workspace = str(members.get("workspace", ""))
        return Place(int(members["inode"]), str(members["path"]), str(members["machine"]), workspace)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def record(folder: Path, workspace: Path) -> None:
    """Note that the state is this place's own, and the workspace's.

    Raises:
        OSError: It cannot be written.
    """
    place = replace(here(folder), workspace=os.path.realpath(workspace))
    if recorded(folder) == place:
        return
    temporary = folder / f"{RECORD}.new"
    with suppress(FileNotFoundError):
        temporary.unlink()
    descriptor = files.open_own(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    with open(descriptor, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(json.dumps(asdict(place)) + "\n")
        file.flush()
        os.fsync(descriptor)
    temporary.replace(folder / RECORD)


def other_workspace(folder: Path, workspace: Path) -> str | None:
    """The workspace whose state is in a folder, where that is another one, and still there."""
    known = recorded(folder)
    owner = known.workspace if known is not None else ""
    if not owner:
        real = Path(os.path.realpath(folder))
        owner = str(real).removesuffix(f"/{wire.STATE_DIR}") if real.match(f"*/{wire.STATE_DIR}") else ""
    is_other = bool(owner) and owner != os.path.realpath(workspace) and os.path.isdir(owner)
    return owner if is_other else None


def foreign_origin(folder: Path) -> str | None:
    """Where the state in a folder comes from, for people; None where it is the folder's own, or there is none.

    Who prepares a clone can write a record, with the path that the clone will have; but no clone has its inode.
    """
    known = recorded(folder)
    if known is None:
        return _without_record(folder) if _has_state(folder) else None
    place = here(folder)
    if known.inode == place.inode:
        return None
    return checked_in.why(folder) if known.is_of(place) else f"it was copied from {known.path}"


def _has_state(folder: Path) -> bool:
    """Whether there is anything that flowd would go by."""
    if any(os.path.lexists(folder / name) for name in (DATABASE, discovery.HTTP_TOKEN)):
        return True
    try:
        return any((folder / KEEPER).iterdir())
    except OSError:
        return False


def _without_record(folder: Path) -> str | None:
    """A flowd from before there were records left none, but closed folder and database to others. git cannot store
    that, nor does a plain copy keep it."""
    if not os.path.lexists(folder / DATABASE):
        return "no daemon has had it, for it has no database"
    for path in (folder, folder / DATABASE):
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            return f"others may read {path}, so it is not as flowd left it"
    return checked_in.why(folder)


def leave_behind(folder: Path) -> None:
    """Move what a state that came from elsewhere says of processes, and its HTTP token, out of the way.

    Raises:
        OSError: It cannot be moved.
    """
    with suppress(FileNotFoundError):
        (folder / discovery.HTTP_TOKEN).unlink()
    keeper = folder / KEEPER
    if keeper.is_dir() and any(keeper.iterdir()):
        number = next(n for n in range(1, 10_000) if not os.path.lexists(folder / f"{KEEPER}.foreign-{n}"))
        keeper.rename(folder / f"{KEEPER}.foreign-{number}")
    keeper.mkdir(mode=0o700, exist_ok=True)


def _machine() -> str:
    for path in _MACHINE_IDS:
        try:
            if text := Path(path).read_text(encoding="ascii", errors="replace").strip():
                return text
        except OSError:
            continue
    return ""
