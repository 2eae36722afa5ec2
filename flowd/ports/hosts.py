"""What hosts that share a store ask of it beside the queue."""

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from flowd.domain.hosts import KnownHost, Startable
from flowd.domain.notices import NotifyRule
from flowd.domain.outcome import Outcome
from flowd.domain.run import Attempt, Run
from flowd.domain.tenure import Held, Lost
from flowd.domain.waiting import TimeWait

Served = dict[tuple[str, str], tuple[str, ...]]
"""Names of hosts by flow and step; a step that none can run is not in it."""


class Hosts(Protocol):
    """The hosts that share a store, this one among them."""

    async def register(self) -> bool:
        """Take this host's name, with what the daemon before has left running under it. Whether somebody wants it to
        start nothing.

        Raises:
            NotYetError: Another host has that name, and was heard of just now.
        """
        ...

    async def leave(self) -> None:
        """Say that this host's daemon ends, so that another one may have its name at once. What still runs keeps its
        lease."""
        ...

    async def note_abilities(self, steps: Iterable[tuple[str, str]]) -> None:
        """These are the steps that this host can run, by flow and step. Claims go by that."""
        ...

    async def note_packages(self, commit: str | None, hashes: Mapping[str, str]) -> None:
        """This is what this host's checkout has: the commit, None where it is in no repository, and the packages in
        force, each by a hash of all its files."""
        ...

    async def differing(self) -> dict[str, dict[str, str]]:
        """The packages that are not the same on all live hosts that have them: their hashes by host, by name."""
        ...

    async def served(self) -> tuple[Served, Served]:
        """Which hosts that live start runs of each step, and which could, but are draining."""
        ...

    async def note_notifiers(self, rules: Iterable[NotifyRule]) -> None:
        """These are the notifiers that this host has."""
        ...

    async def notify_rules(self) -> list[NotifyRule]:
        """What the notifiers of all hosts want to be told that were there in the last day, by name. One name may come
        more than once, where hosts mean different things by it."""
        ...

    async def known(self) -> list[KnownHost]:
        """All hosts, by name."""
        ...

    async def want(self, name: str, *, is_draining: bool) -> bool:
        """Let a host start nothing more, or start again; it hears of that at once, and its daemons to come do, too.
        False where no host has that name."""
        ...

    async def forget(self, name: str, *, is_forced: bool) -> int | None:
        """Forget a host, and let the leases of what runs there be over. How many attempts that are; None where no host
        has that name. One that lives after all ends when it hears of it.

        Raises:
            HostAliveError: It was heard of lately, or holds a lease. Not where it ``is_forced``.
        """
        ...


class Leases(Protocol):
    """The leases of attempts. Every claim of this host begins with one, see `flowd.domain.queueing.Claim.asked_s`.

    All methods raise `StorageBusyError` or `StorageFailedError` where the store cannot be reached; then nothing has
    changed.
    """

    async def renew(self, *, running: int, places: int, is_draining: bool = False) -> list[Held] | None:
        """Renew all leases of this host, and say that it is there. Returns all attempts that it holds, whose leases
        count from now on; None where another daemon has taken its name since: then it holds nothing any more.

        Args:
            running: How many runs are under way here, of so many ``places``.
            is_draining: This daemon was told to start nothing, whatever the store says.
        """
        ...

    async def startable(self) -> Startable:
        """What this host may start. Takes no lock, unlike a claim."""
        ...

    async def cancel_wishes(self) -> list[str]:
        """Runs that this host holds, and that somebody wants canceled."""
        ...

    async def return_run(self, run_id: str, *, at_ms: int) -> bool:
        """Queue a run again that this host holds, and that was never started. False where it does not hold it."""
        ...

    async def expired(self) -> list[Lost]:
        """Attempts of any host whose leases are over, by the store's clock, the oldest first; not all of very many."""
        ...

    async def declare_lost(
        self, attempt: Attempt, outcome: Outcome, *, at_ms: int, wait: TimeWait | None
    ) -> Run | None:
        """End an attempt whose lease is over, as `flowd.ports.queue.Queue.finish` does. None, and nothing has changed,
        where it was renewed, has ended, or was declared lost by another host in the meantime."""
        ...

    def tell_news(self, listener: Callable[[], None]) -> None:
        """Call this, in the loop, when another host has committed something, and whenever that may have been missed."""
        ...


class Sharing(Hosts, Leases, Protocol):
    """What a store offers beside the queue that hosts share."""
