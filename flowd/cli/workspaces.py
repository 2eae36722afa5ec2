"""``flowd workspaces``: the daemons of this user, whichever workspace they serve."""

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from flowd.cli import printing, time_words
from flowd.cli.verb import Verb, as_json_option
from flowd_client import wire
from flowd_client.errors import FlowClientError
from flowd_client.unix import UnixTransport

_ANSWER_S = 2.0


@click.command(cls=Verb, short_help="List the workspaces that have a daemon.")
@as_json_option
def workspaces(as_json: bool) -> None:
    """List the workspaces that have a daemon of this user on this machine, and what each does.

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
    runs = status.get("runs") or {}
    places = (status.get("limits") or {}).get("maxParallel")
    return (
        str(status["workspace"]),
        f"{status.get('state', '-')}{', in trouble' if status.get('troubles') else ''}",
        f"{runs.get('running', 0)}" + (f" of {places}" if places else ""),
        str(runs.get("queued", 0)),
        str((status.get("attention") or {}).get("count", 0)),
        str(runs.get("failed", 0)),
        printing.when(time_words.instant(status.get("startedAt"))),
        str(status["pid"]),
    )


def statuses() -> Iterator[dict[str, Any]]:
    """What each daemon of this user says of itself. One that does not answer is left out."""
    for path in _listening():
        with suppress(FlowClientError, OSError):
            status = UnixTransport(path).call(wire.STATUS, {}, timeout_s=_ANSWER_S)
            if isinstance(status, dict) and "workspace" in status and "pid" in status:
                yield status


def _listening() -> Iterator[Path]:
    """The sockets of processes of this user that look like a daemon."""
    from flowd.observe.processes import all_processes  # noqa: PLC0415 - 10 ms that other verbs do not pay

    for process in all_processes():
        words = process.command_line
        if process.uid == os.getuid() and "serve" in words and "flowd" in " ".join(words[:4]):
            yield from (path for path in process.unix_sockets if path.suffix == ".sock")
