"""The blocking client."""

from flowd_client._sync.client import FlowClient

__all__ = ["FlowClient"]
