"""Runs the engine inside the caller's process, without a daemon.

`flowd.embedded.firing` runs an event once and forgets it (``flowd fire``); `flowd.embedded.local` is what the client
library's ``mode="local"`` talks to. Both stand on `flowd.embedded.running`.
"""

from flowd.embedded.firing import RunReport, execute, fire
from flowd.embedded.rehearsal import Audience, Sent

__all__ = ["Audience", "RunReport", "Sent", "execute", "fire"]
