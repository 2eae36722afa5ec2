"""One HTTP connection, without a socket."""

import asyncio
import gc
import weakref
from typing import Any, cast

from uvicorn.server import ServerState

from flowd.api.http.config import Limits
from flowd.api.http.protocol import BoundedConfig, BoundedProtocol

REQUEST = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"


class _Transport:
    """Takes everything, and says nothing."""

    is_closed = False

    def get_extra_info(self, _name: str) -> None:
        return None

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True

    def write(self, _data: bytes) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


async def _never(_scope: Any, _receive: Any, _send: Any) -> None:
    """Answers nothing."""


def test_requests_that_a_lost_connection_had_piled_up_leave_nothing_to_the_garbage_collector() -> None:
    async def connect() -> list[weakref.ref[object]]:
        config = BoundedConfig(_never, http=BoundedProtocol, ws="none", lifespan="off", log_config=None)
        config.limits = Limits(max_body_bytes=1000)
        config.emptied = asyncio.Event()
        config.load()
        protocol = BoundedProtocol(config, ServerState(), {}, asyncio.get_running_loop())
        protocol.connection_made(cast("asyncio.Transport", _Transport()))
        protocol.data_received(REQUEST * 100)
        piled: list[weakref.ref[object]] = [weakref.ref(cycle) for cycle, _ in protocol.pipeline]
        protocol.connection_lost(None)
        return piled

    gc.collect()
    gc.disable()
    try:
        piled = asyncio.run(connect())
        assert len(piled) == 99
        assert [one() for one in piled[1:] if one() is not None] == []  # the newest is the connection's own
    finally:
        gc.enable()
