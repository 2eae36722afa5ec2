"""The asyncio transport over HTTP."""

from flowd_client._async.http import AsyncHttpTransport
from flowd_client._core.http_server import Server

__all__ = ["AsyncHttpTransport", "Server"]
