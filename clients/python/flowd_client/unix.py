"""The blocking transport over a Unix socket."""

from flowd_client._core.connect import listening_pid, stopped_pid
from flowd_client._sync.unix import UnixTransport

__all__ = ["UnixTransport", "listening_pid", "stopped_pid"]
