"""What is done after a daemon that a service manager stopped: by `flowd service end-steps`, not by the daemon."""

from collections.abc import Mapping

from flowd import state_dir
from flowd.keeper import farewell
from flowd.keeper.capabilities import boot_id
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
    folder = settings.state_dir / state_dir.KEEPER
    if settings.executor == "systemd":
        from flowd.units.bus import default_scope  # noqa: PLC0415 - takes 40 ms, and few need it
        from flowd.units.keeper import end_units  # noqa: PLC0415

        return await end_units(folder, scope=default_scope(), boot_id=boot_id(), environ=environ, bound_s=_BOUND_S)
    return await farewell.end_steps(folder, bound_s=_BOUND_S)
