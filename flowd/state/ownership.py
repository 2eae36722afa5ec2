"""Decides whose word a file is: what another user can write is not run, read as settings, or sent anything.

A path may be used where it and every folder above it belongs to the caller or root, and nobody else can write there. A
person may say otherwise (`flowd.state.trust`).
"""

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

_ACL = "system.posix_acl_access"
_OVERFLOW_UID = 65534
"""How a user namespace shows every owner that it has no number for, the host's root among them."""

_IN_WORKSPACE = (
    ".",
    ".codex",
    ".codex/flowd.toml",
    ".codex/flows",
    ".codex/flowd",
    ".codex/flowd/flowd.sock",
    ".codex/flowd/flowd.sock.path",
    "flows",
)
"""What decides what runs, and whom events are sent to. Packages are looked at one by one, when they are read."""


def workspace_problem(workspace: Path, *, also: int | None = None) -> str | None:
    """Why a workspace is not the caller's own word; None where it is. ``also`` is as in `problem`."""
    return problem((workspace / name for name in _IN_WORKSPACE), also=also)


def problem(paths: Iterable[str | Path], *, also: int | None = None) -> str | None:
    """Why the first of these paths that somebody else can write is not the caller's own word; None where all are.

    Links count as well as what they lead to, and all folders above either. What is not there is nobody's.

    Args:
        also: Another user who counts as we do, such as the one that a service is installed for.
    """
    places = dict.fromkeys(place for path in paths for place in _places(os.path.abspath(path)))
    return _first_problem(places, _users(also), "neither to you nor to root")


def problem_above(path: str | Path, *, uid: int) -> str | None:
    """Who could exchange a path beside root and a user, because a folder above it is theirs; None where nobody can.

    Whose the path itself is does not count: systemd gives a service's folder to its user, whatever it finds there.
    """
    places = [place for place in _places(os.path.abspath(path)) if place[1]]
    return _first_problem(places, frozenset({0, uid}), "who can write to it")


def _first_problem(places: Iterable[tuple[str, bool]], users: frozenset[int], stranger: str) -> str | None:
    """``stranger`` says of an owner who is none of the users what is wrong with that."""
    for place, is_above in places:
        try:
            status = os.lstat(place)
        except OSError:
            continue  # not there, or behind a folder that is closed to us: whoever opens it is told
        if status.st_uid not in users and not (is_above and status.st_uid == _OVERFLOW_UID and _is_namespace()):
            return f"{place} belongs to {name_of(status.st_uid)}, {stranger}"
        if found := _other_writer(place, status, users):
            return found
    return None


def _places(path: str) -> Iterator[tuple[str, bool]]:
    """What decides where a path leads, from the root downwards, and whether it only lies above the path."""
    real = os.path.realpath(path)
    for end in dict.fromkeys((path, real)):
        above = os.path.dirname(end)
        parts = [] if above == "/" else above[1:].split("/")
        yield from (("/" + "/".join(parts[:count]), True) for count in range(len(parts) + 1))
        yield end, False


def _users(also: int | None) -> frozenset[int]:
    """Whose files are our own word: ours, root's, and those of whoever called root with sudo."""
    users = {0, os.geteuid()}
    caller = os.environ.get("SUDO_UID", "")
    if os.geteuid() == 0 and caller.isdecimal():
        users.add(int(caller))
    if also is not None:
        users.add(also)
    return frozenset(users)


def _other_writer(path: str, status: os.stat_result, users: frozenset[int]) -> str | None:
    mode = status.st_mode
    if stat.S_ISLNK(mode) or (stat.S_ISDIR(mode) and mode & stat.S_ISVTX):
        return None  # a link has no mode; in a sticky folder nobody can touch what is another's
    if mode & stat.S_IWOTH:
        return f"everybody can write to {path}"
    if mode & stat.S_IWGRP and not _is_private(path, status, users):
        return f"the group {_group_of(status.st_gid)} can write to {path}"
    return None


def _is_private(path: str, status: os.stat_result, users: frozenset[int]) -> bool:
    """Whether nobody is in a path's group but its owner and us, as with the group of their own that a umask of 002 is
    meant for."""
    import grp  # noqa: PLC0415 - few workspaces need it
    import pwd  # noqa: PLC0415

    try:
        if _ACL in os.listxattr(path):
            return False  # then the group's bits stand for others, too
    except (OSError, AttributeError):
        pass  # no such attributes on this file system, or on macOS
    allowed = {*users, status.st_uid}
    if status.st_gid not in map(_own_group, allowed):
        return False
    try:
        listed = grp.getgrgid(status.st_gid).gr_mem
    except KeyError:
        listed = []
    members = {entry.pw_uid for entry in pwd.getpwall() if entry.pw_gid == status.st_gid or entry.pw_name in listed}
    return members <= allowed


def _own_group(uid: int) -> int:
    """The group that a user's files belong to; for a number without a name, as in containers, the same number."""
    import pwd  # noqa: PLC0415 - as above

    try:
        return pwd.getpwuid(uid).pw_gid
    except KeyError:
        return uid


def _is_namespace() -> bool:
    """Whether we are in a user namespace that does not know all users."""
    try:
        with open("/proc/self/uid_map", encoding="ascii") as file:
            return file.read().split()[:2] != ["0", "0"]
    except OSError:
        return False


def name_of(uid: int) -> str:
    """A user for people: the number, and the name where it has one."""
    import pwd  # noqa: PLC0415 - only for a refusal

    try:
        return f"user {uid} ({pwd.getpwuid(uid).pw_name})"
    except KeyError:
        return f"user {uid}"


def _group_of(gid: int) -> str:
    import grp  # noqa: PLC0415 - as above

    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
