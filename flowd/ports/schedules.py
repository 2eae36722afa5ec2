"""What a store remembers of schedules."""

from collections.abc import Collection, Sequence
from typing import Protocol

from flowd.domain.slots import Remembered, ScheduleKey, Told


class ScheduleStore(Protocol):
    """The slots of schedules that count, whatever became of their events. `flowd.ports.queue.Queue.accept` adds one."""

    async def begin_schedules(
        self, keys: Collection[ScheduleKey], *, broken: Collection[str], at_ms: int
    ) -> dict[ScheduleKey, Remembered]:
        """Note which schedules are in force on this host, in one transaction. One that was not there when this was
        called last begins now, also where it had been there before; an edited one takes over what its name was told.

        Args:
            broken: Flows whose packages cannot be read: what they had is neither gone nor in force.
            at_ms: Now, by this host's clock; what counts is the store's, see `now_ms`.

        Returns:
            What is remembered of each of ``keys``.
        """
        ...

    async def told_last(self, keys: Collection[ScheduleKey]) -> dict[ScheduleKey, tuple[Told, ...]]:
        """The slots that were told last of each of these, the newest telling first."""
        ...

    async def ends_of(self, event_ids: Sequence[str]) -> dict[str, list[str]]:
        """The effective statuses of the newest runs of all steps of these events; nothing of one that is not stored."""
        ...

    async def now_ms(self, at_ms: int) -> int:
        """Now by the store's clock, in milliseconds since the epoch: the server's where hosts share it, else
        ``at_ms``, by this host's."""
        ...
