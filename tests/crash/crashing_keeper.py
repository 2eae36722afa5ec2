"""A keeper with crash points around what it writes, starts and tells. `crashing_daemon` has it started."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from crashpoint import CrashPoints

from flowd.keeper import standby
from flowd.keeper.journal import Journal
from flowd.keeper.main import Keeper
from flowd.keeper.main import main as keeper_main
from flowd.keeper.pipes import Pipes
from flowd.keeper.recorder import Recorder
from flowd.keeper.recording import Recording
from flowd.keeper.spawn import Spawner
from flowd.keeper.standby import Standby

_RECORDING: tuple[tuple[type, str, str], ...] = (
    (Pipes, "_make", "recording.pipes"),
    (Standby, "start", "recording.standby"),
    (Recording, "drain", "recording.drain"),
    (Recording, "_write_order", "recording.order"),
    (Recorder, "end", "recording.end"),
    (Recorder, "take_over", "recording.take_over"),
)
_TOLD = {"started": "keeper-process.told-start:after", "exited": "keeper-process.told-exit:after"}


def main(arming_file: str, *arguments: str) -> None:
    """Become a keeper that dies where the file says."""
    points = CrashPoints(arming_file)
    Journal.write_ahead = _around(points, Journal.write_ahead, lambda entry: f"journal.{entry['op']}")  # type: ignore[method-assign]
    Journal.record = _around(points, Journal.record, lambda entry: f"journal.{entry['op']}")  # type: ignore[method-assign]
    Spawner.spawn = _around(points, Spawner.spawn, lambda *_, **__: "keeper-process.spawn")  # type: ignore[method-assign]
    become_standby = standby._become_standby

    def as_standby(*arguments: Any) -> None:
        points.are_off = True  # it is the keeper that dies: whether its copy is there then is what is asked
        become_standby(*arguments)

    standby._become_standby = as_standby  # type: ignore[assignment]
    for owner, method, name in _RECORDING:
        setattr(owner, method, _around(points, getattr(owner, method), _named(name)))
    send, flush = Keeper._send, Keeper._flush

    def sending(self: Keeper, header: dict[str, Any], body: bytes = b"") -> None:
        send(self, header, body)
        if header["op"] in _TOLD:
            flush(self)
            points.pass_by(_TOLD[header["op"]])

    Keeper._send = sending  # type: ignore[method-assign]
    keeper_main(*arguments)


def _named(name: str) -> Callable[..., str]:
    return lambda *_, **__: name


def _around(points: CrashPoints, method: Callable[..., Any], name: Callable[..., str]) -> Callable[..., Any]:
    def wrapped(self: object, *args: Any, **kwargs: Any) -> Any:
        point = name(*args, **kwargs)
        points.pass_by(f"{point}:before")
        value = method(self, *args, **kwargs)
        points.pass_by(f"{point}:after")
        return value

    return wrapped
