"""The handlers of the methods about hosts."""

from collections.abc import Awaitable, Callable
from typing import Any

from flowd.api.params import NoParams
from flowd.api.shapes import hosts
from flowd.engine.engine import Engine
from flowd_client import methods as names


class HostMethods:
    """They show the hosts that share the store, and let them start nothing or be forgotten."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.handlers: dict[str, Callable[..., Awaitable[Any]]] = {
            names.HOSTS: self._list,
            names.DRAIN_HOST: self._drain,
            names.UNDRAIN_HOST: self._undrain,
            names.FORGET_HOST: self._forget,
        }

    async def _list(self, _: NoParams) -> hosts.HostsView:
        known = await self._engine.hosts.list()
        return hosts.hosts_view(known, await self._engine.hosts.differing())

    async def _drain(self, given: hosts.Host) -> hosts.OneHostView:
        return hosts.OneHostView(host=hosts.host_view(await self._engine.hosts.drain(given.host)))

    async def _undrain(self, given: hosts.Host) -> hosts.OneHostView:
        return hosts.OneHostView(host=hosts.host_view(await self._engine.hosts.undrain(given.host)))

    async def _forget(self, given: hosts.Forget) -> hosts.ForgottenView:
        runs = await self._engine.hosts.forget(given.host, is_forced=given.force)
        return hosts.ForgottenView(host=given.host, runs=runs)
