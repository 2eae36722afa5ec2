"""The blocking transport over HTTP."""

from flowd_client._core.http_server import Server
from flowd_client._sync.http import HttpTransport

__all__ = ["HttpTransport", "Server"]
