"""Tells the store that hosts share which notifiers this one has, and asks which the others have: an outcome is recorded
by whichever host had the run, with the notices of all."""

import asyncio
import logging

from flowd.domain.errors import RefusedError
from flowd.domain.notices import NotifyRule
from flowd.engine.notices import Notices
from flowd.ports.hosts import Hosts

log = logging.getLogger("flowd.notices")

_LOOK_EVERY_S = 5.0


class NotifiersOfHosts:
    """The notifiers of all hosts, as each of them knows them."""

    def __init__(self, hosts: Hosts, notices: Notices) -> None:
        self._hosts = hosts
        self._notices = notices
        self._told: tuple[NotifyRule, ...] | None = None

    async def work(self) -> None:
        """Tell and ask at the beginning, and every few seconds, however long the store is away. Without end."""
        while True:
            try:
                await self.look()
            except RefusedError:
                pass  # the store cannot be reached: who writes tells it
            except Exception:
                log.exception("the notifiers of hosts could not be told")
            await asyncio.sleep(_LOOK_EVERY_S)

    async def look(self) -> None:
        """Tell what has changed here, and take over what has changed elsewhere.

        Raises:
            RefusedError: The store cannot be reached.
        """
        own = self._notices.rules
        if own != self._told:
            await self._hosts.note_notifiers(own)
            self._told = own
        self._notices.use_others(await self._hosts.notify_rules())
