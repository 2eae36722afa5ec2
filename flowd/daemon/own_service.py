"""Asks systemd what a stop and a restart of our unit do to running steps, which an operator's unit decides."""

import asyncio
import os
import time
from dataclasses import dataclass

from flowd.domain.errors import StateError
from flowd.observe import own_unit
from flowd.observe.own_unit import OwnUnit
from flowd.service.systemctl import ServiceManager
from flowd.settings.values import DEFAULT_WHERE_MANAGED, Settings, is_managed

_VALID_S = 30.0
"""How long an answer holds: a unit changes at a daemon-reload, and a bus may come and go."""


@dataclass(frozen=True, slots=True)
class StepsFate:
    """What becomes of running steps.

    Attributes:
        is_canceled_at_stop: A stop of the service cancels them, though ``on_stop`` keeps them.
        is_killed_at_restart: systemd kills them with the daemon, whatever ``on_stop`` says.
        problem: What keeps flowd from keeping its promise, as a sentence.
    """

    is_canceled_at_stop: bool = False
    is_killed_at_restart: bool = False
    problem: str | None = None


class OwnService:
    """The unit that this daemon is the main process of. Without one, nothing becomes of steps."""

    def __init__(self, settings: Settings) -> None:
        self._is_stop_asked_for = settings.origins.get("on_stop") == DEFAULT_WHERE_MANAGED
        self._has_steps_inside = settings.executor == "direct"
        self._known: tuple[float, StepsFate] | None = None

    async def fate(self) -> StepsFate:
        """What becomes of running steps, as the unit is now."""
        if not self._has_steps_inside or not is_managed(os.environ) or (unit := own_unit.current()) is None:
            return StepsFate(is_canceled_at_stop=self._is_stop_asked_for)
        if self._known is None or time.monotonic() - self._known[0] > _VALID_S:
            self._known = (time.monotonic(), await asyncio.to_thread(self._ask, unit))
        return self._known[1]

    def _ask(self, unit: OwnUnit) -> StepsFate:
        try:
            mode = ServiceManager(unit.scope).show(unit.name, "KillMode").get("KillMode", "")
        except StateError:
            mode = ""
        if mode in ("control-group", "mixed"):
            return StepsFate(
                is_canceled_at_stop=self._is_stop_asked_for,
                is_killed_at_restart=True,
                problem=f"{unit.name} has KillMode={mode}: systemd kills running steps with flowd, at a restart, too",
            )
        if mode or not self._is_stop_asked_for:
            return StepsFate(is_canceled_at_stop=self._is_stop_asked_for)
        return StepsFate(
            problem="systemd cannot be asked (is there a D-Bus?), so flowd cannot tell a stop of the service from a "
            "restart, and a stop leaves running steps, too"
        )
