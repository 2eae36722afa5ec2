"""The handlers of the methods about what comes by itself."""

from collections.abc import Awaitable, Callable
from typing import Any

from flowd.api import params
from flowd.api.shapes import schedules
from flowd.domain.errors import InvalidParamsError, StepNotFoundError
from flowd.engine.engine import Engine
from flowd_client import methods as names


class ScheduleMethods:
    """They show schedules."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.handlers: dict[str, Callable[..., Awaitable[Any]]] = {names.SCHEDULES: self._list}

    async def _list(self, given: schedules.Schedules) -> schedules.SchedulesView:
        if given.cursor is not None and not (given.cursor.isascii() and given.cursor.isdigit()):
            raise InvalidParamsError("cursor is none of this list.", param="cursor")
        after, limit = int((given.cursor or "0")[:18]), params.page_limit(given.limit)
        shown, next_index = self._engine.schedules.page(given.flow, limit=limit, after=after)
        snapshot = self._engine.snapshot()
        broken = [one for one in snapshot.broken if given.flow in (None, one.name)]
        if given.flow is not None and given.flow not in snapshot.by_name and not broken:
            raise StepNotFoundError.of_flow(given.flow, snapshot.by_name)
        return schedules.schedules_view(await self._engine.schedules.known(shown), broken, next_index=next_index)
