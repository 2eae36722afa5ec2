"""The blocking subscription."""

from flowd_client._sync.transport import UpdateStream
from flowd_client._sync.updates import Updates

__all__ = ["UpdateStream", "Updates"]
