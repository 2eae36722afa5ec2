"""The blocking transport over a Unix socket."""

from flowd_client._core.connect import stopped_pid
from flowd_client._sync.unix import UnixTransport

__all__ = ["UnixTransport", "stopped_pid"]
