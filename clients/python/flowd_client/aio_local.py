"""The asyncio transport to an engine in this process."""

from flowd_client._async.local import AsyncLocalTransport

__all__ = ["AsyncLocalTransport"]
