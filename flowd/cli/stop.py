"""``flowd stop``: ends the daemon of a workspace as SIGTERM does, and as one SIGTERM however often it is typed."""

import fcntl
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import click

from flowd.cli import printing
from flowd.cli.exits import CommandError, Exit
from flowd.cli.session import Session
from flowd.cli.verb import Duration, Verb
from flowd.cli.waiting import progress, telling_on_interrupt
from flowd_client import requests, wire
from flowd_client.discovery import is_in_step, rehearsal_socket
from flowd_client.errors import ConnectionLostError, DaemonNotRunningError, FlowClientError
from flowd_client.unix import listening_pid

_LOOK_S = 0.1

_HEAR_S = 5.0
"""So long a daemon has for saying that it has heard a signal."""

_WAITING, _CANCELING, _GONE = 1, 2, 4
"""How far a daemon is with stopping."""

_LEVELS = {"waiting": _WAITING, "keeping": _WAITING, "canceling": _CANCELING, "killing": 3}


@click.command(cls=Verb, short_help="Stop the daemon of a workspace.")
@click.option("--cancel", "is_canceling", is_flag=True, help="End running steps instead of waiting for them.")
@click.option("--timeout", "timeout_s", type=Duration(), metavar="T", help="Wait no longer; then exit with 1.")
@click.pass_obj
def stop(session: Session, *, is_canceling: bool, timeout_s: float | None) -> Exit:
    """Stop the daemon, and return when it has ended. What happens to running steps is what the setting on_stop says: by
    default they go on to their ends first. Queued runs start with the next daemon.

    Ctrl-C ends the waiting alone, and the daemon goes on stopping. One that is stopping already is only waited for, or
    with --cancel told to end its steps. A daemon that systemd runs is stopped by systemd, which starts it anew
    otherwise.

    \b
    Examples:
      flowd stop
      flowd stop --cancel
    """
    if rehearsal_socket() is not None:
        raise CommandError("This is a step that is only tried out: it stops no daemon.", Exit.REFUSED)
    status = _status(session)
    if status is None:
        printing.note("No daemon runs here.")
        return Exit.GOOD
    pid, manager = status.get("pid"), status.get("manager")
    if isinstance(manager, dict):
        user = "" if manager.get("scope") == "system" else " --user"
        raise CommandError(f"systemd runs this daemon: systemctl{user} stop {manager.get('unit')}", Exit.REFUSED)
    if not isinstance(pid, int):
        raise CommandError("The daemon does not say which process it is: stop it where it was started.", Exit.REFUSED)
    if not _is_here(session.socket_path, pid):
        if _status(session) is None:  # it has ended since
            printing.note("No daemon runs here.")
            return Exit.GOOD
        raise CommandError(
            f"The daemon says that it is process {pid}, and no such process listens here: it runs in a container, or "
            "elsewhere. Stop it there.",
            Exit.REFUSED,
        )
    goes_on = f"flowd: The daemon goes on stopping; `{session.typed('status')}` shows what it waits for."
    with telling_on_interrupt(lambda: goes_on):
        _ask_to_stop(session, pid, _CANCELING if is_canceling else _WAITING)
        if _is_around(session.socket_path):
            printing.note("flowd: The daemon ends once this step has, which it is not waited for from within.")
            return Exit.GOOD
        return _wait(session, pid, None if timeout_s is None else time.monotonic() + timeout_s)


def _status(session: Session) -> Mapping[str, Any] | None:
    """What the daemon says of itself; None where there is none, or one that has ended before it said anything."""
    try:
        status: Mapping[str, Any] = session.ask(requests.status())
    except DaemonNotRunningError:
        return None
    except ConnectionLostError as error:
        if isinstance(error.__cause__, DaemonNotRunningError):
            return None
        raise
    return status


def _ask_to_stop(session: Session, pid: int, wanted: int) -> None:
    """Send signals until the daemon is as far as wanted, and no more: each one beyond ends its steps harder.

    Raises:
        CommandError: It is another user's.
    """
    with _alone(session.socket_path):
        level = _level(session, pid) or 0
        if level == wanted == _WAITING:
            printing.note(f"flowd: The daemon is stopping already; `{session.typed('stop')} --cancel` ends its steps.")
        while level < wanted:
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                return  # it ends just now
            except PermissionError:
                raise CommandError(
                    f"The daemon, process {pid}, is another user's, who alone can stop it.", Exit.REFUSED
                ) from None
            level = _heard(session, pid, beyond=level)


def _heard(session: Session, pid: int, *, beyond: int) -> int:
    """How far the daemon is once it has heard a signal, for two at once would be one."""
    give_up_at_s = time.monotonic() + _HEAR_S
    while time.monotonic() < give_up_at_s:
        level = _level(session, pid)
        if level is not None and level > beyond:
            return level
        time.sleep(_LOOK_S)
    return beyond + 1


def _level(session: Session, pid: int) -> int | None:
    """How far a daemon is with stopping, from 0; None where it does not say: one of an earlier version does not."""
    if not _lives(pid):
        return _GONE
    with suppress(FlowClientError):
        status = session.transport.call(wire.STATUS, {}, timeout_s=_HEAR_S)
        return _LEVELS.get(status.get("stopping"))
    return None


@contextmanager
def _alone(socket: Path) -> Iterator[None]:
    """Let no other `flowd stop` go by what the daemon said before it has heard the signal of this one."""
    folder = None
    with suppress(OSError):  # not every file system has locks, and the folder may be another user's
        folder = os.open(socket.parent, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(folder, fcntl.LOCK_EX)
    try:
        yield
    finally:
        if folder is not None:
            os.close(folder)


def _is_here(socket: Path, pid: int) -> bool:
    """Whether the process of this number is who listens there. A daemon in a container says a number that here may be
    anybody's."""
    # Only Linux tells. Process 1 is systemd, which has made the socket.
    return sys.platform != "linux" or listening_pid(socket) in (pid, 1)


def _is_around(socket: Path) -> bool:
    """Whether that daemon runs the step that this is a part of."""
    told = os.environ.get("FLOWD_SOCKET")
    try:
        return bool(is_in_step() and told and os.path.samefile(told, socket))
    except OSError:
        return False


def _wait(session: Session, pid: int, deadline_s: float | None) -> Exit:
    with progress() as (show, _):
        while _lives(pid):
            if deadline_s is not None and time.monotonic() > deadline_s:
                printing.note(
                    f"flowd: process {pid} still waits for its steps; `{session.typed('status')}` shows them."
                )
                return Exit.RUN_FAILED
            show("the daemon lets its steps end")
            time.sleep(_LOOK_S)
    printing.line("stopped")
    return Exit.GOOD


def _lives(pid: int) -> bool:
    """Whether the process is there, and no zombie of whoever started it."""
    from flowd.observe.processes import find_process  # noqa: PLC0415 - 10 ms that other verbs do not pay

    process = find_process(pid)
    return process is not None and not process.is_zombie
