"""The hosts that share a store, as callers see and ask for them."""

from collections.abc import Iterable, Mapping
from typing import Annotated

import msgspec

from flowd.api.json import instant
from flowd.api.params import Params
from flowd.api.shapes import View
from flowd.domain.hosts import HostState, KnownHost

HostName = Annotated[str, msgspec.Meta(min_length=1, max_length=63)]


class Host(Params):
    """Which host, by its name."""

    host: HostName


class Forget(Params):
    """Which host, by its name; with ``force`` even if it may be there: what runs there may then run twice."""

    host: HostName
    force: bool = False


class HostView(View):
    """A host.

    Attributes:
        state: ``ready``; ``draining``: it starts nothing more; ``unreachable``: it was not heard of lately; ``gone``:
            its daemon has ended.
        version: Of flowd.
        labels: All, with the one that every host has, ``host:NAME``.
        running: How many runs were under way there when it was heard of last.
        places: How many may be at once.
        seen_at: When it was heard of last, by the store's clock, and ``silentMs`` how long ago that is.
        clock_offset_ms: How far its wall clock is ahead of the store's.
        this: It is the one that answers.
        commit: That its workspace is at; absent where that is in no git repository.
    """

    name: str
    state: HostState
    version: str
    labels: list[str]
    running: int
    places: int
    seen_at: str
    silent_ms: int
    clock_offset_ms: int
    this: bool = False
    commit: str | None = None


class PackageDifferenceView(View):
    """A flow package that is not the same on all live hosts that have it: ``hashes`` has a hash of all its files by
    host."""

    name: str
    hashes: dict[str, str]


class HostsView(View):
    """All hosts, by name; one where the store is in its state folder. ``packages``: those that differ between live
    hosts, absent where hosts share no store."""

    hosts: list[HostView]
    packages: list[PackageDifferenceView] | None = None


class OneHostView(View):
    """A host."""

    host: HostView


class ForgottenView(View):
    """A host that is forgotten, and how many ``runs`` of it were declared lost."""

    host: str
    runs: int


def host_view(host: KnownHost) -> HostView:
    """A host."""
    return HostView(
        name=host.name,
        state=host.state,
        version=host.version,
        labels=list(host.labels),
        running=host.running,
        places=host.places,
        seen_at=instant(host.seen_at_ms),
        silent_ms=host.silent_ms,
        clock_offset_ms=host.clock_offset_ms,
        this=host.is_self,
        commit=host.commit,
    )


def hosts_view(hosts: Iterable[KnownHost], differing: Mapping[str, Mapping[str, str]] | None) -> HostsView:
    """All hosts, and what they do not have in common."""
    told = None if differing is None else [PackageDifferenceView(name, dict(own)) for name, own in differing.items()]
    return HostsView([host_view(host) for host in hosts], told)
