"""A stream that is asked for in the moment in which the daemon ends all streams."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from flowd.api.http.app import HttpApp
from flowd.api.http.config import Limits
from flowd.api.http.responses import Stream


async def parts() -> AsyncIterator[bytes]:
    yield b"never"


def test_a_stream_that_is_ended_before_its_first_turn_is_refused_and_no_fault() -> None:
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        await asyncio.sleep(3600)

    async def ask() -> None:
        app = HttpApp.__new__(HttpApp)
        app._live, app._limits = {}, Limits(max_body_bytes=1024)
        asked = asyncio.ensure_future(app._send(Stream(parts(), "text/plain", is_live=True), receive, send))
        await asyncio.sleep(0)  # it is taken up, and has not begun
        assert len(app._live) == 1
        app.end_streams()
        await asked

    asyncio.run(ask())
    assert (sent[0]["status"], len(sent)) == (503, 2)
