"""The handlers of the methods about watches."""

from collections.abc import Awaitable, Callable
from typing import Any

from flowd.api.params import NoParams
from flowd.api.shapes import watches
from flowd.engine.engine import Engine
from flowd_client import methods as names


class WatchMethods:
    """They show what is watched."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.handlers: dict[str, Callable[..., Awaitable[Any]]] = {names.WATCHES: self._list}

    async def _list(self, _: NoParams) -> watches.WatchesView:
        return watches.WatchesView(watches=[watches.watch_view(state) for state in self._engine.watches.states()])
