"""The asyncio subscription."""

from flowd_client._async.transport import AsyncUpdateStream
from flowd_client._async.updates import AsyncUpdates

__all__ = ["AsyncUpdateStream", "AsyncUpdates"]
