"""The hosts that share a store: shows them, lets them start nothing or go on, and forgets them."""

import asyncio
from collections.abc import Callable

from flowd.domain.errors import HostAliveError, HostNotFoundError, RefusedError
from flowd.domain.hosts import HostState, KnownHost
from flowd.engine.scheduler import Holder, Scheduler
from flowd.ports import Clock
from flowd.ports.hosts import Hosts


class HostControl:
    """All hosts of a store; this one alone where the store is its own."""

    def __init__(
        self,
        *,
        name: str,
        version: str,
        labels: frozenset[str],
        shared: Hosts | None,
        scheduler: Scheduler,
        running: Callable[[], int],
        clock: Clock,
        commit: Callable[[], str | None] = lambda: None,
    ) -> None:
        """Wire it.

        Args:
            name: This host's, as is its ``version`` of flowd, and its ``labels``.
            shared: The store, where hosts share it.
            running: How many runs are under way here.
            commit: Reads at which one the workspace is; None where there is none.
        """
        self._name = name
        self._version = version
        self._labels = labels
        self._shared = shared
        self._scheduler = scheduler
        self._running = running
        self._clock = clock
        self._commit = commit

    @property
    def name(self) -> str:
        """This host's."""
        return self._name

    async def list(self) -> list[KnownHost]:
        """All hosts, by name."""
        return [await self._own()] if self._shared is None else await self._shared.known()

    async def differing(self) -> dict[str, dict[str, str]] | None:
        """The packages that are not the same on all live hosts, see `flowd.ports.hosts.Hosts.differing`; None where the
        store is not shared."""
        return None if self._shared is None else await self._shared.differing()

    async def host(self, name: str) -> KnownHost:
        """A host.

        Raises:
            HostNotFoundError: There is none of this name.
        """
        found = next((host for host in await self.list() if host.name == name), None)
        if found is None:
            raise HostNotFoundError(name)
        return found

    def meant(self, name: str | None) -> str | None:
        """The host whose runs are looked for; None for all, as of the only one."""
        return None if self._shared is None and name == self._name else name

    async def drain(self, name: str) -> KnownHost:
        """Let a host start nothing more; what runs there goes on. In a store that hosts share, its daemons to come hold
        to that, too.

        Raises:
            HostNotFoundError: There is none of this name.
        """
        return await self._want(name, is_draining=True)

    async def undrain(self, name: str) -> KnownHost:
        """Let a host start runs again; this one also where it was told itself to start nothing.

        Raises:
            HostNotFoundError: There is none of this name.
            RefusedError: This host's daemon is stopping.
        """
        if name == self._name and self._scheduler.is_paused:
            raise RefusedError("The daemon is stopping, and starts no more runs: the next one starts what is queued.")
        return await self._want(name, is_draining=False)

    async def forget(self, name: str, *, is_forced: bool) -> int:
        """Forget a host that is lost, with what it runs declared lost. How many runs that are.

        Raises:
            HostNotFoundError: There is none of this name.
            HostAliveError: It may be there, and it is not ``is_forced``; or it is this host, which has its store for
                itself.
        """
        if self._shared is None:
            await self.host(name)
            raise HostAliveError(
                f"Host {name} is the only one: its store is in its state folder, which no other host shares.", host=name
            )
        lost = await self._shared.forget(name, is_forced=is_forced)
        if lost is None:
            raise HostNotFoundError(name)
        return lost

    # --- inside

    async def _want(self, name: str, *, is_draining: bool) -> KnownHost:
        if self._shared is not None and not await self._shared.want(name, is_draining=is_draining):
            raise HostNotFoundError(name)
        found = await self.host(name)
        if name == self._name and (self._shared is None or not is_draining):
            self._scheduler.hold(Holder.DAEMON, is_draining)
        return found if self._shared is not None else await self._own()

    async def _own(self) -> KnownHost:
        commit = await asyncio.to_thread(self._commit)
        state = HostState.DRAINING if self._scheduler.is_held or self._scheduler.is_paused else HostState.READY
        return KnownHost(
            self._name, state, self._version, tuple(sorted(self._labels)), self._running(),
            self._scheduler.max_parallel, self._clock.now_ms(), is_self=True, commit=commit,
        )  # fmt: skip
