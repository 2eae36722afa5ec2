"""Tells the store that hosts share which steps this one can run, and asks which others can."""

import asyncio
import logging
from collections.abc import Callable

from flowd.domain.errors import RefusedError
from flowd.domain.flow import Snapshot
from flowd.engine.served import Served
from flowd.engine.steps_in_force import StepsInForce
from flowd.ports import Catalog
from flowd.ports.hosts import Hosts

log = logging.getLogger("flowd.engine")

_AGAIN_AFTER_S = 1.0
_LOOK_EVERY_S = 5.0


class Abilities:
    """What this host can run, as the store has it: the steps of its own packages whose labels it has itself. And what
    others can."""

    def __init__(
        self, *, hosts: Hosts, catalog: Catalog, steps: StepsInForce, served: Served, ring: Callable[[], None]
    ) -> None:
        """``ring`` tells that a run may be ready: one that this host could not start before."""
        self._hosts = hosts
        self._catalog = catalog
        self._steps = steps
        self._served = served
        self._ring = ring
        self._news = asyncio.Event()
        self._news.set()

    def changed(self, _: Snapshot) -> None:
        """Another snapshot of the catalog is in force."""
        self._news.set()

    async def work(self) -> None:
        """Tell it at the beginning, and whenever packages change, however long the store is away; and ask now and then
        what others can. Without end."""
        while True:
            try:
                if self._news.is_set():
                    await self._tell()
                self._served.tell(*await self._hosts.served())
                async with asyncio.timeout(_LOOK_EVERY_S):
                    await self._news.wait()
            except TimeoutError:
                pass
            except RefusedError:
                await asyncio.sleep(_AGAIN_AFTER_S)
            except Exception:
                log.exception("what hosts can run could not be told")
                await asyncio.sleep(_AGAIN_AFTER_S)

    async def _tell(self) -> None:
        self._news.clear()
        try:
            await self._hosts.note_abilities(self.of(self._catalog.snapshot))
        except BaseException:
            self._news.set()
            raise
        self._ring()

    def of(self, snapshot: Snapshot) -> list[tuple[str, str]]:
        """Flow and step of all that this host can run."""
        return [(flow.name, step.name) for flow in snapshot.flows for step in flow.steps if not self._steps.lacks(step)]
