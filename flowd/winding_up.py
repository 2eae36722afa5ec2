"""What is done after a daemon that a service manager stopped: by `flowd service end-steps`, not by the daemon."""

from collections.abc import Mapping

from flowd import state_dir
from flowd.keeper import farewell
from flowd.settings import DEFAULT_WHERE_MANAGED, Settings
from flowd.units import own

_BOUND_S = 80.0
"""Less than the 90 s of ``TimeoutStopSec=``, so that a manager never has to kill us."""


async def end_steps(settings: Settings, *, environ: Mapping[str, str], is_asked: bool) -> int:
    """End the steps that a daemon left to its keeper, if our unit is being stopped and nobody wants them kept.

    Args:
        is_asked: Whatever our unit does, and whatever ``on_stop`` says.

    Returns:
        How many were running.
    """
    if not is_asked:
        is_kept = settings.on_stop == "keep" and settings.origins.get("on_stop") != DEFAULT_WHERE_MANAGED
        if is_kept or await own.pending_job(environ) != "stop":
            return 0
    return await farewell.end_steps(settings.state_dir / state_dir.KEEPER, bound_s=_BOUND_S)
