"""The asyncio client."""

from flowd_client._async.client import AsyncFlowClient

__all__ = ["AsyncFlowClient"]
