"""The blocking transport to an engine in this process, and what that engine must offer."""

from flowd_client._core.local_engine import LocalEngine, LocalUpdates, OnOutput, State, open_engine
from flowd_client._sync.local import LocalTransport

__all__ = ["LocalEngine", "LocalTransport", "LocalUpdates", "OnOutput", "State", "open_engine"]
