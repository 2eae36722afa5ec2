"""Who turns steps into commands, and who starts and ends them."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from flowd.domain.definition import Definition
from flowd.domain.exit import Exit
from flowd.domain.launching import Command, KeeperRecord, Launch, StepContext


class Runners(Protocol):
    """Turns definitions into commands."""

    async def command(self, definition: Definition, context: StepContext) -> Command:
        """The command of a step.

        Raises:
            SpawnError: The script, its interpreter or the working directory is missing or unusable.
        """
        ...


class Keeper(Protocol):
    """The parent of all steps."""

    @property
    def id(self) -> str:
        """Names this keeper process in attempts (``workerId``)."""
        ...

    @property
    def pid(self) -> int | None:
        """Its process id while it is alive."""
        ...

    async def start(self, launch: Launch) -> int:
        """Start a step and return its pid. The start is journaled before this returns.

        Raises:
            NoRoomError: The disk is full, and nothing runs.
            SpawnError: It could not be started, and nothing runs.
            KeeperLostError: The keeper died; ask `knows` once it is back.
        """
        ...

    async def wait(self, attempt_id: str) -> Exit:
        """How the attempt ended. Returns at once when it has ended already. Survives the keeper's death: a new keeper
        takes over, and an exit that nobody saw comes as an `Exit` with neither code nor signal."""
        ...

    async def knows(self, attempt_id: str) -> bool:
        """Whether this attempt was ever begun: False means that no process of it was ever started."""
        ...

    def remembers(self, worker_id: str) -> bool:
        """Whether its memory reaches back to the keeper of this id, so that an attempt of that one which it does not
        know was never started. False: that memory was taken away, and nobody can say."""
        ...

    async def end_strays(self, attempt_id: str) -> None:
        """End the processes of an attempt whose end nobody saw, if there are any, and return when they are gone."""
        ...

    def records(self) -> Sequence[KeeperRecord]:
        """What it knew of every attempt when it was last connected to."""
        ...

    async def stop(self, attempt_id: str, *, cause: str, grace_s: float) -> None:
        """Ask for the end of an attempt: SIGTERM to all of it, SIGKILL after ``grace_s``. Idempotent; unknown or ended
        attempts are left alone. `wait` tells how it went."""
        ...

    @property
    def can_fence(self) -> bool:
        """Whether it keeps leases: a start that has one is refused otherwise, and `lease` does nothing."""
        ...

    def lease(self, until_s: Mapping[str, float]) -> None:
        """Say how long attempts may run from now on, by id, on the clock of `flowd.keeper.capabilities.now_s`, which
        counts the time asleep. The last word counts.

        What is still running at its instant is ended with the cause ``fenced``: SIGTERM, and SIGKILL after the grace of
        its launch, by a process that neither the end of this daemon nor its being stopped keeps from that. While an
        attempt has a lease, it may run without a daemon for that long, and ``orphan_grace_s`` does not count. Unknown
        or ended attempts are left out. Returns at once.
        """
        ...

    async def forget(self, attempt_id: str) -> None:
        """The attempt's outcome is on disk: drop its record."""
        ...
