"""Waits for a workspace that is away, where systemd runs flowd: what is queued starts when it is back.

Nobody has to call for that, and those who do are answered meanwhile.
"""

import os
import select
import time
from pathlib import Path

from flowd.daemon.process import turn_away
from flowd.domain.errors import StateError
from flowd.observe import listenfds

PATIENCE_S = 20.0
"""Less than systemd gives a start (90 s by default), and so long that starting again costs little."""
_LOOK_S = 0.5


def until_back(workspace: Path, why: StateError) -> bool:
    """Whether the workspace is back within `PATIENCE_S`. Meanwhile callers at systemd's sockets are told why they wait
    in vain; to systemd the service is still starting."""
    listeners = listenfds.stream_sockets()
    deadline_s = time.monotonic() + PATIENCE_S
    while not os.path.isdir(workspace):
        turn_away(why)
        if time.monotonic() >= deadline_s:
            return False
        select.select(listeners, [], [], _LOOK_S)
    return True
