"""The asyncio transport over a Unix socket."""

from flowd_client._async.unix import AsyncUnixTransport

__all__ = ["AsyncUnixTransport"]
