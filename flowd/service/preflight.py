"""Checks, as the user of a system service and before anything is written, that this user can run it."""

import os
import pwd
import shlex
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from flowd.domain.errors import StateError

_TRY_WITHIN_S = 60.0
_NO_WORKSPACE = 3
_CLOSED_SETTINGS = 4
_TRY = f"""cd -- "$1" && test -r . || exit {_NO_WORKSPACE}
if test -d .codex && ! test -x .codex; then printf %s .codex; exit {_CLOSED_SETTINGS}; fi
for file in .codex .codex/flowd.toml; do
  if test -e "$file" && ! test -r "$file"; then printf %s "$file"; exit {_CLOSED_SETTINGS}; fi
done
exec "$2" --version"""
_FIRST_CLOSED = 'for folder; do test -x "$folder" || { printf %s "$folder"; exit; }; done'
_NOBODY = 65534


@dataclass(frozen=True, slots=True)
class Account:
    """A user as whom the check runs."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str


def account(name: str) -> Account:
    """A user by name or number. ``flowd``, where the install is still to make it, has the rights of nobody.

    Raises:
        StateError: There is no such user.
    """
    try:
        entry = pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
    except KeyError:
        if name == "flowd":
            return Account(name, _NOBODY, _NOBODY, (), "/")
        raise StateError(f"There is no user {name}. Make one, or name another with --run-as.") from None
    groups = tuple(os.getgrouplist(entry.pw_name, entry.pw_gid))
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, groups, entry.pw_dir)


def check(user: str, command: str, workspace: Path) -> None:
    """Enter the workspace, read its settings, and run ``flowd --version`` as the user. We must be root.

    Raises:
        StateError: It does not work; the message says what is in the way, and the remedy.
    """
    who = account(user)
    done = _as(who, _TRY, str(workspace), command)
    if done.returncode == 0:
        return
    if done.returncode == _NO_WORKSPACE:
        closed = _first_closed(who, [workspace])
        why = f"{closed} is closed to that user" if closed else done.stderr.strip()
        raise StateError(
            f"The service would run as {user}, who cannot look into {workspace}: {why}. Open it to {user}, move the "
            "workspace (below /srv, say), or name another user with --run-as."
        )
    if done.returncode == _CLOSED_SETTINGS:
        path = workspace / done.stdout
        raise StateError(
            f"The service would run as {user}, who cannot read {path}. Open it to {user} "
            f"(sudo chown -R {shlex.quote(f'{user}:')} {shlex.quote(str(path))}), or name another user with --run-as."
        )
    closed = _first_closed(who, [Path(command), Path(command).resolve(), Path(sys.executable).resolve()])
    said = done.stderr.strip().splitlines()
    why = f"{closed} is closed to that user" if closed else said[-1] if said else f"exit code {done.returncode}"
    raise StateError(
        f"The service would run as {user}, who cannot run {command}: {why}. Install flowd where every user can reach "
        "it, and call that one; in a clone of its repository: sudo python3 -m venv /opt/flowd && "
        "sudo /opt/flowd/bin/pip install . (or: sudo pipx install --global .). Or name another user with --run-as."
    )


def _first_closed(who: Account, paths: Iterable[Path]) -> str:
    folders = [str(folder) for path in paths for folder in reversed((path, *path.parents)) if folder.is_dir()]
    return _as(who, _FIRST_CLOSED, *folders).stdout


def _as(who: Account, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {"PATH": os.defpath, "HOME": who.home, "USER": who.name, "LANG": "C.UTF-8"}
    try:
        return subprocess.run(
            ["/bin/sh", "-c", script, "sh", *arguments],
            user=who.uid,
            group=who.gid,
            extra_groups=who.groups,
            cwd="/",
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TRY_WITHIN_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise StateError(f"Cannot try out the service as {who.name}: {error}") from error
