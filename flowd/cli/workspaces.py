"""``flowd workspaces``: the daemons of this user, whichever workspace they serve."""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from flowd.cli import printing, run_words, time_words
from flowd.cli.verb import Verb, as_json_option
from flowd_client import discovery, wire
from flowd_client.errors import DaemonNotRunningError, FlowClientError
from flowd_client.unix import UnixTransport

_ANSWER_S = 2.0
NO_ANSWER = "does not answer"
"""The state of a daemon that hangs, or is stopped."""


@click.command(cls=Verb, short_help="List the workspaces that have a daemon.")
@as_json_option
def workspaces(as_json: bool) -> None:
    """List the workspaces that have a daemon of this user on this machine, and what each does. One whose daemon does
    not answer within 2 s is listed as such.

    \b
    Examples:
      flowd workspaces
      flowd workspaces --json | jq -r '.workspaces[].workspace'
    """
    show(as_json=as_json)


def show(*, as_json: bool) -> None:
    """Print what the daemons of this user do, a line each."""
    found = sorted(statuses(), key=lambda status: str(status.get("workspace")))
    if as_json:
        printing.print_json({"workspaces": found})
    elif found:
        printing.table(
            ("WORKSPACE", "STATE", "RUNNING", "QUEUED", "ASKING", "FAILED", "STARTED", "PID"),
            [_row(status) for status in found],
            yields=("PID", "STARTED", "FAILED"),
            whole=("STATE",),
        )
    else:
        printing.note("No daemon runs.")


def _row(status: Mapping[str, Any]) -> tuple[str, ...]:
    if status.get("state") == NO_ANSWER:
        return str(status["workspace"]), NO_ANSWER, "-", "-", "-", "-", "-", str(status["pid"])
    runs = status.get("runs") or {}
    places = (status.get("limits") or {}).get("maxParallel")
    state = "stopping" if status.get("stopping") else status.get("state", "-")
    return (
        str(status["workspace"]),
        f"{state}{', in trouble' if status.get('troubles') else ''}",
        f"{runs.get('running', 0)}" + (f" of {places}" if places else ""),
        str(runs.get("queued", 0)),
        str((status.get("attention") or {}).get("count", 0)),
        run_words.outcome(status.get("outcomes") or runs, "failed"),
        printing.when(time_words.instant(status.get("startedAt"))),
        str(status["pid"]),
    )


def statuses() -> Iterator[dict[str, Any]]:
    """What each daemon of this user says of itself; of one that does not answer, only whose it is, and that."""
    for pid, sockets in _listening():
        said = _said_by(pid, sockets)
        if said is not None:
            yield said


def _said_by(pid: int, sockets: Iterable[Path]) -> dict[str, Any] | None:
    silent = None
    for path in sockets:
        try:
            status = UnixTransport(path).call(wire.STATUS, {}, timeout_s=_ANSWER_S)
        except DaemonNotRunningError:
            continue  # it has just ended
        except (FlowClientError, OSError):
            is_its_own = path.name == wire.SOCKET_NAME or _is_systems(path)
            silent = path if is_its_own and silent is None else silent
            continue
        if isinstance(status, dict) and "workspace" in status and "pid" in status:
            return status
    return None if silent is None else {**_whose(silent), "pid": pid, "state": NO_ANSWER}


def _whose(socket: Path) -> dict[str, str]:
    """The workspace that a socket is of by its path; the socket itself where its path does not tell."""
    if _is_systems(socket):
        workspace = Path("/", socket.relative_to(discovery.SYSTEM_SOCKETS)).with_suffix("")
    else:
        folder = socket.parent
        workspace = folder.parents[1] if folder.match(wire.STATE_DIR) else socket
    return {"workspace": str(workspace), "socket": str(socket)}


def _is_systems(socket: Path) -> bool:
    return socket.is_relative_to(discovery.SYSTEM_SOCKETS)


def _listening() -> Iterator[tuple[int, list[Path]]]:
    """The processes of this user that look like a daemon, with their sockets."""
    from flowd.observe.processes import all_processes  # noqa: PLC0415 - 10 ms that other verbs do not pay

    for process in all_processes():
        words = process.command_line
        if process.uid == os.getuid() and "serve" in words and "flowd" in " ".join(words[:4]):
            yield process.pid, [path for path in process.unix_sockets if path.suffix == ".sock"]
