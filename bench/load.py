"""Callers on the control socket, as cheap as Python makes them: they share the machine with what they measure."""

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Frame = Callable[[int], dict[str, Any]]


def frame(event_id: str, event_type: str, *, wait: bool = False) -> bytes:
    """A dispatch."""
    params: dict[str, Any] = {"event": {"id": event_id, "type": event_type, "payload": {"n": 1}}}
    if wait:
        params["wait"] = True
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": "flow.dispatch", "params": params}).encode() + b"\n"


async def _caller(socket: Path, frames: list[bytes], took_s: list[float]) -> None:
    reader, writer = await asyncio.open_unix_connection(str(socket), limit=1 << 24)
    for item in frames:
        began = time.perf_counter()
        writer.write(item)
        answer = await reader.readline()
        took_s.append(time.perf_counter() - began)
        if b'"result"' not in answer[:200]:
            raise RuntimeError(answer[:300])
    writer.close()


async def _all(socket: Path, frames: list[bytes], callers: int) -> tuple[float, list[float]]:
    took_s: list[float] = []
    began = time.perf_counter()
    await asyncio.gather(*(_caller(socket, frames[n::callers], took_s) for n in range(callers)))
    return time.perf_counter() - began, took_s


def send(socket: Path, frames: list[bytes], *, callers: int) -> tuple[float, list[float]]:
    """Send every frame, each caller one at a time. Returns the whole time and each answer's, in seconds, sorted."""
    whole_s, took_s = asyncio.run(_all(socket, frames, callers))
    return whole_s, sorted(took_s)


def percentile(sorted_s: list[float], part: float) -> float:
    """Of sorted seconds, in milliseconds."""
    return sorted_s[min(len(sorted_s) - 1, int(len(sorted_s) * part))] * 1000
