"""The daemon's last phase: waits for running steps, ends them, or leaves them to the keeper."""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping

from flowd.api.shapes.daemon import Stopping
from flowd.engine.engine import Engine
from flowd.executors.systemd.pending_job import pending_job
from flowd.settings.values import DEFAULT_WHERE_MANAGED, Settings

log = logging.getLogger("flowd.daemon")

SAY_INTERVAL_S = 10.0
TICK_INTERVAL_S = 1.0
_LOOK_INTERVAL_S = 0.05
_STUCK_S = 3.0
"""So long everything may wait for storage; the keeper knows how the steps ended."""
_MAX_SAID = 10
"""So many running steps are named; the rest are counted."""

_WAIT, _CANCEL, _KILL = 1, 2, 3
"""What the first, second and third wish to stop comes to. Where the policy is to cancel, the first counts as two."""

_DOINGS: Mapping[int, Stopping] = {_WAIT: "waiting", _CANCEL: "canceling", _KILL: "killing"}

_SAYINGS = {
    _WAIT: "waiting for running steps; stop again to cancel them",
    _CANCEL: "canceling running steps; stop again to kill them",
    _KILL: "killing running steps",
}


async def on_this_stop(settings: Settings) -> str:
    """What to do with running steps. Where systemd manages us and nobody set it, that depends: a restart or an upgrade
    leaves them to the next daemon, but ``systemctl stop`` means them, too."""
    on_stop = settings.on_stop
    if on_stop != "keep" or settings.origins.get("on_stop") != DEFAULT_WHERE_MANAGED:
        return on_stop
    return "cancel" if await pending_job(os.environ) == "stop" else on_stop


def what_a_stop_does(on_stop: str, wishes: int) -> Stopping:
    """What becomes of running steps once somebody has asked so often for the stop.

    >>> [what_a_stop_does("finish", wishes) for wishes in (1, 2, 3, 4)]
    ['waiting', 'canceling', 'killing', 'killing']
    >>> what_a_stop_does("cancel", 1), what_a_stop_does("keep", 2)
    ('canceling', 'keeping')
    """
    return "keeping" if on_stop == "keep" else _DOINGS[_level(on_stop, wishes)]


def _level(on_stop: str, wishes: int) -> int:
    return min(max(wishes, 1) + (on_stop == "cancel"), _KILL)


async def wind_down(
    engine: Engine,
    on_stop: str,
    *,
    wishes: Callable[[], int],
    has_failed: Callable[[], bool],
    tick: Callable[[], None] = lambda: None,
) -> bool:
    """Wait for running steps, end them, or leave them to the keeper. The engine starts no more by now.

    Events are accepted meanwhile, and their runs queued for the next daemon.

    Args:
        engine: What runs.
        on_stop: ``finish``, ``cancel`` or ``keep``.
        wishes: How often somebody has asked for the stop: the second time cancels, the third kills.
        has_failed: Whether there is no use in waiting any more.
        tick: Called every second.

    Returns:
        Whether nothing runs any more; False leaves the rest to the keeper.
    """
    if on_stop == "keep":
        if engine.active:
            _say(engine, "leaving running steps to the keeper; the next daemon goes on with them")
        return engine.is_idle
    level = 0
    said_s = ticked_s = moved_s = time.monotonic()
    while not engine.is_idle and not has_failed():
        if not engine.is_stuck:
            moved_s = time.monotonic()
        elif time.monotonic() - moved_s > _STUCK_S:
            _say(
                engine,
                "no room to record how steps ended, or a locked database; the next daemon does it",
            )
            return False
        wanted = _level(on_stop, wishes())
        if wanted > level:
            level, said_s = wanted, time.monotonic()
            _say(engine, _SAYINGS[level])
            if level > _WAIT:
                await engine.end_active(grace_s=0.0 if level == _KILL else None)
        if time.monotonic() - said_s > SAY_INTERVAL_S:
            said_s = time.monotonic()
            _say(engine, "still " + _SAYINGS[level])
        if time.monotonic() - ticked_s > TICK_INTERVAL_S:
            ticked_s = time.monotonic()
            tick()
        await asyncio.sleep(_LOOK_INTERVAL_S)
    return engine.is_idle and not has_failed()


def _say(engine: Engine, saying: str) -> None:
    log.info(saying, extra={"running": len(engine.active)})
    for step in engine.under_way()[:_MAX_SAID]:
        about = {"flow": step.flow_name, "step": step.step_name, "run_id": step.run_id}
        log.info("running step", extra={**about, "for_s": round(step.age_s), "pid": step.pid})
