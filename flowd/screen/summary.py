"""The lines at the top: which daemon it is, how it is, and what is wrong. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

from flowd.cli import time_words
from flowd.formats.terminal import escaped
from flowd.screen.board import Board, Section
from flowd_client.views.host import HostView

_MAX_NAMED = 4
"""Of the hosts that start nothing; `flowd hosts` lists all."""

_STYLES = {"unreachable": "bold yellow", "draining": "yellow", "gone": "dim"}
"""What is worth looking at first, first."""


def summary(board: Board, place: str) -> Text:
    """How the daemon is, in a line or two."""
    status = board.status
    first = f"flowd {status.get('version', '')}  {place}"
    if status.get("state") != "ready":
        first += f"  {status.get('state')}"
    lines = [Text(escaped(first), "bold"), _counts(board)]
    if board.hosts:
        lines.append(_hosts(board.hosts))
    lines += [Text(escaped(trouble), "bold yellow") for trouble in _troubles(status)]
    return Text("\n").join(lines)


def _counts(board: Board) -> Text:
    runs, limits = board.status.get("runs", {}), board.status.get("limits", {})
    waiting = board.status.get("waiting") or 0
    parts = [
        Text(f"running {runs.get('running', 0)} of {limits.get('maxParallel', '?')}", "cyan"),
        Text(f"ready {max(0, runs.get('queued', 0) - waiting)}"),
        Text(f"waiting {waiting}"),
        *(Text(f"{name} {runs.get(name, 0)}", "dim") for name in ("completed", "failed")),
    ]
    if asking := board.totals[Section.ATTENTION]:
        parts.insert(0, Text(f"{asking} {'asks' if asking == 1 else 'ask'} for a person", "bold yellow"))
    if board.pauses:
        names = ", ".join("all flows" if what == "*" else what for what in board.pauses)
        parts.append(Text(escaped(f"paused: {names}"), "bold yellow"))
    return Text("  ").join(parts)


def _hosts(hosts: Sequence[HostView]) -> Text:
    """How many hosts start runs, which one answers, and which ones start none."""
    ready = [host for host in hosts if host.state == "ready"]
    others = sorted((host for host in hosts if host.state != "ready"), key=_urgency)
    parts = [Text(f"{len(ready)} of {len(hosts)} {'host is' if len(hosts) == 1 else 'hosts are'} ready")]
    parts += [Text(escaped(_away(host)), _STYLES.get(host.state, "")) for host in others[:_MAX_NAMED]]
    if len(others) > _MAX_NAMED:
        parts.append(Text(f"and {len(others) - _MAX_NAMED} more"))
    parts += [Text(escaped(f"this is {host.name}"), "dim") for host in hosts if host.this]
    return Text("  ").join(parts)


def _urgency(host: HostView) -> int:
    known = list(_STYLES)
    return known.index(host.state) if host.state in known else 0


def _away(host: HostView) -> str:
    since = "" if host.state == "draining" else f", heard of {time_words.apart(host.silent_ms / 1000)}"
    return f"{host.name} {host.state}{since}"


def _troubles(status: Mapping[str, Any]) -> list[str]:
    found = [f"trouble: {one.get('what')}: {one.get('problem')}" for one in status.get("troubles") or ()]
    if count := status.get("waitingForStorage"):
        found.append(f"{count} runs wait for storage: the disk is full, or the database is locked")
    catalog = status.get("catalog", {})
    if bad := [f"{catalog[name]} {name}" for name in ("broken", "stale") if catalog.get(name)]:
        found.append(f"flow packages: {', '.join(bad)}; `flowd flows` says why")
    return found
