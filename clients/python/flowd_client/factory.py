"""Where the clients come from, and the options of each mode."""

from flowd_client._async.factory import create_async_flow_client
from flowd_client._core.options import HttpOptions, LocalOptions, Mode, SocketOptions
from flowd_client._sync.factory import create_flow_client

__all__ = ["HttpOptions", "LocalOptions", "Mode", "SocketOptions", "create_async_flow_client", "create_flow_client"]
