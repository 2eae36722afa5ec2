"""Checks the state folder: its owner, its mode, its file system, and the room that is left."""

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from flowd.doctor.finding import Finding, fail, ok, warn
from flowd.doctor.scene import Scene
from flowd.doctor.whereabouts import rightful_owner
from flowd.observe.processes import mounts
from flowd.state import folder as state_folder
from flowd.state import place
from flowd.state.folder import find_link
from flowd.store.sql.connection import Connection
from flowd_client import discovery, wire

LOW_BYTES = 512 << 20
EMPTY_BYTES = 16 << 20
"""An accepted event must be written; below this nobody knows how long that goes on."""

_SCHEMA_WITH_WAITS = 2

_FOLDERS = (state_folder.OUTPUT, state_folder.KEEPER)
_FILES = (
    state_folder.LOCK,
    state_folder.DATABASE,
    place.RECORD,
    f"{place.RECORD}.new",
    discovery.HTTP_TOKEN,
    wire.SOCKET_POINTER,
)

_NETWORK = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "afpfs", "9p", "fuse.sshfs", "ceph", "glusterfs", "lustre"}
)
_SHARED = frozenset({"virtiofs", "vboxsf", "fuse.vmhgfs-fuse", "fakeowner"})
_VOLATILE = frozenset({"tmpfs", "ramfs"})


def check(scene: Scene) -> Iterator[Finding]:
    """Check the folder, or where it will be."""
    folder = scene.folder
    if (link := find_link(folder, scene.settings.workspace)) is not None:
        yield fail(
            "state.links",
            f"{link} is a link, to {os.readlink(link)}: the daemon does not start over it",
            "Remove it, or set FLOWD_STATE_DIR to the folder that is meant.",
        )
        return
    if not folder.is_dir():
        there = next(parent for parent in folder.parents if parent.is_dir())
        absent = ok("state.folder", f"{folder} is not there yet; the first start of the daemon makes it")
        yield _read_only(there) or absent
        return
    yield _access(folder)
    if (wrong := _in_the_way(folder)) is not None:
        yield fail(
            "state.shape",
            f"{wrong} is in the way: a {'folder' if wrong.name in _FOLDERS else 'file'} of flowd's has that name, and "
            "the daemon does not start over what is there",
            "Move it, or set FLOWD_STATE_DIR to another folder.",
        )
        return
    if (missing := _missing(scene)) is not None:
        yield missing
    yield from _contents(folder)
    yield _place(scene)
    yield _space(folder)
    yield _file_system(folder)


def _in_the_way(folder: Path) -> Path | None:
    """What has the name of a file of flowd's and is none, or that of a folder."""
    for name in (*_FOLDERS, *_FILES):
        try:
            mode = (folder / name).lstat().st_mode
        except OSError:
            continue
        if not (stat.S_ISDIR(mode) if name in _FOLDERS else stat.S_ISREG(mode)):
            return folder / name
    return None


def _missing(scene: Scene) -> Finding | None:
    """That folders of steps are gone, where flowd has worked before."""
    names = [name for name in (state_folder.OUTPUT, state_folder.KEEPER) if not (scene.folder / name).is_dir()]
    if not names or place.recorded(scene.folder) is None:
        return None
    return warn(
        "state.folders",
        f"{' and '.join(names)} of {scene.folder} {'is' if len(names) == 1 else 'are'} gone: somebody removed that",
        "flowd makes it again, at the next start at the latest. Large output that lay there is lost, and a step that "
        "runs then may end as interrupted. Leave the folder to flowd; clean up with `flowd prune`.",
    )


def _access(folder: Path) -> Finding:
    status = folder.stat()
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid != rightful_owner(folder):
        return fail(
            "state.folder",
            f"{folder} belongs to user {status.st_uid}, and you are {os.geteuid()}",
            "Run flowd as that user, or set FLOWD_STATE_DIR to a folder of yours.",
        )
    if (read_only := _read_only(folder)) is not None:
        return read_only
    if status.st_uid == os.geteuid() and not os.access(folder, os.W_OK | os.X_OK):
        return fail(
            "state.folder",
            f"{folder} has mode {mode:04o} and cannot be written to: the daemon cannot start",
            f"Run: chmod 700 {folder}",
        )
    if mode & 0o022:
        return fail(
            "state.folder",
            f"{folder} has mode {mode:04o}: others could start processes as you",
            f"Run: chmod 700 {folder}",
        )
    if mode & 0o077:
        return warn(
            "state.folder", f"{folder} has mode {mode:04o}: others can look into it", f"Run: chmod 700 {folder}"
        )
    whose = "yours" if status.st_uid == os.geteuid() else "its user's"
    return ok("state.folder", f"{folder}, {whose} alone")


def _read_only(folder: Path) -> Finding | None:
    """That the folder's mount takes nothing, from root neither, whatever owner and mode say."""
    if not os.statvfs(folder).f_flag & os.ST_RDONLY:
        return None
    return fail(
        "state.folder",
        f"{folder} is on a file system that is mounted read-only: the daemon cannot start",
        "Mount it read-write, or set FLOWD_STATE_DIR to a folder that can be written to.",
    )


def _place(scene: Scene) -> Finding:
    """Whether the state is this folder's own, and what of a copied one waits for a person."""
    origin = place.foreign_origin(scene.folder)
    if origin is not None:
        return warn(
            "state.place",
            f"the state in {scene.folder} comes from elsewhere: {origin}. Its processes are not looked after here",
            "The next start of the daemon takes it for history: what ran ends as interrupted, and what is queued waits "
            "for `flowd resume`.",
        )
    with scene.reading() as connection:
        is_new_enough = connection is not None and scene.schema_of(connection) >= _SCHEMA_WITH_WAITS
        waiting = _waiting_for_a_person(connection) if connection is not None and is_new_enough else 0
    if waiting:
        return warn(
            "state.place",
            f"{waiting} {'run waits' if waiting == 1 else 'runs wait'} for a person, queued where this state came from",
            "Start them with `flowd resume`, or end them with `flowd cancel`.",
        )
    return ok("state.place", "the state is this folder's own")


def _waiting_for_a_person(connection: Connection) -> int:
    (count,) = connection.execute(
        "SELECT count(*) FROM runs WHERE status = 'queued' AND waits_for = 'person'"
    ).fetchone()
    return int(count)


def _contents(folder: Path) -> Iterator[Finding]:
    """Check the modes of what is in the folder, in case somebody opens the folder."""
    owner = rightful_owner(folder)
    for path in sorted([*folder.iterdir(), *folder.glob("keeper/*")]):
        status = path.lstat()
        mode = stat.S_IMODE(status.st_mode)
        is_private = path.name.startswith(("flowd.db", "flowd.sock", "keeper")) or path.name == "output"
        if is_private and not stat.S_ISLNK(status.st_mode) and mode & 0o022:
            yield fail("state.files", f"{path} has mode {mode:04o}: others can write to it", f"Run: chmod go-w {path}")
        if status.st_uid != owner:
            yield fail(
                "state.files",
                f"{path} belongs to user {status.st_uid}: flowd cannot work with it",
                f"A flowd that ran as somebody else made it, with sudo perhaps. Run: sudo chown {owner} {path}",
            )


def _space(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    inodes = os.statvfs(folder)
    text = f"{free / (1 << 30):.1f} GiB free" if free >= 1 << 30 else f"{free / (1 << 20):.0f} MiB free"
    if free < EMPTY_BYTES or (inodes.f_files and inodes.f_favail < 100):
        return fail(
            "state.space",
            f"{text}, {inodes.f_favail} inodes left: events may be refused",
            f"Free some space on the disk that holds {folder}.",
        )
    if free < LOW_BYTES:
        return warn("state.space", f"{text}: output of steps may fill that", f"Free some space on {folder}'s disk.")
    return ok("state.space", text)


def _file_system(folder: Path) -> Finding:
    kind = file_system_of(folder)
    elsewhere = "Set FLOWD_STATE_DIR to a folder on a local disk."
    if kind in _NETWORK:
        return warn("state.disk", f"{kind}: SQLite's locks and shared memory are not sound over a network", elsewhere)
    if kind in _SHARED:
        return warn("state.disk", f"{kind}: shared with a host, where locks and sockets may not work", elsewhere)
    if kind in _VOLATILE:
        return warn("state.disk", f"{kind}: events and runs are lost with the next boot", elsewhere)
    return ok("state.disk", kind or "of an unknown kind")


def file_system_of(path: Path) -> str:
    """The kind of file system that a path lies on; empty where the system does not tell."""
    real = path.resolve()
    kinds = mounts()
    above = [folder for folder in kinds if real.is_relative_to(folder)]
    return kinds[max(above, key=lambda folder: len(folder.parts))] if above else ""
