"""The hosts that share a store, as a client sees them."""

from collections.abc import Iterator, Sequence
from dataclasses import field
from datetime import datetime
from typing import overload

from flowd_client.views.frozen import frozen
from flowd_client.views.reading import Members, members, read, records


@frozen
class HostView:
    """A host.

    Attributes:
        state: ``ready``, ``draining``, ``unreachable`` or ``gone``.
        version: Of flowd.
        labels: All, with the one that every host has, ``host:NAME``.
        running: How many runs were under way there when it was heard of last, in so many ``places``.
        seen_at: When it was heard of last, by the store's clock, ``silent_ms`` ago.
        clock_offset_ms: How far its wall clock is ahead of the store's.
        this: It is the one that has answered.
        commit: That its workspace is at; None where that is in no git repository.
    """

    name: str
    state: str
    version: str
    labels: tuple[str, ...]
    running: int
    places: int
    seen_at: datetime | None
    silent_ms: int
    clock_offset_ms: int
    this: bool
    commit: str | None = None


@frozen
class PackageDifferenceView:
    """A flow package that is not the same on all live hosts that have it: a hash of all its files by host."""

    name: str
    hashes: Members = field(hash=False)


@frozen
class HostsView(Sequence[HostView]):
    """All hosts, by name. A sequence of them; ``raw`` is the response as it came.

    Attributes:
        packages: Those that differ between live hosts; None where hosts share no store.
    """

    items: tuple[HostView, ...]
    raw: Members = field(repr=False, compare=False)
    packages: tuple[PackageDifferenceView, ...] | None = None

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[HostView]:
        return iter(self.items)

    @overload
    def __getitem__(self, index: int) -> HostView: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[HostView]: ...
    def __getitem__(self, index: int | slice) -> HostView | Sequence[HostView]:
        return self.items[index]


def read_hosts(response: object) -> HostsView:
    """All hosts from the response."""
    source = members(response)
    told = source.get("packages")
    packages = None if told is None else tuple(read(PackageDifferenceView, record) for record in records(told))
    return HostsView(tuple(read(HostView, record) for record in records(source.get("hosts"))), source, packages)


def read_host(response: object) -> HostView:
    """A host from the response about it alone."""
    return read(HostView, members(members(response).get("host")))
