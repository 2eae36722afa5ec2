"""What tells hosts apart that share a store: their names, their labels, and which steps they can run."""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

MAX_LABELS = 64
NAME_PATTERN = r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$"
NAME_RULE = "a name like a hostname's: at most 63 letters, digits, '.', '_' and '-'"
LABEL_PATTERN = r"^[A-Za-z0-9._:-]{1,64}$"
LABEL_RULE = "at most 64 letters, digits, '.', '_', ':' and '-'"

OWN_LABEL = "host:"
"""With its name behind it, a label that every host has, and no other."""

DEFAULT_LOST_AFTER_MS = 120_000
"""Survives the failover of a database; less finds a lost host sooner."""
MIN_LOST_AFTER_MS = 15_000
MAX_LOST_AFTER_MS = 86_400_000
_GRACES = 3
"""Of a step within its lease: as much of it is left for renewing it."""


@dataclass(frozen=True, slots=True)
class HostSession:
    """A host's daemon, from its start to its end.

    Attributes:
        host_id: Of its state folder: two hosts of one name are told apart by it.
        session: Of its daemon alone. What it holds is held by this.
        version: Of flowd.
        labels: Without the one that every host has.
    """

    name: str
    host_id: str
    session: str
    version: str
    labels: tuple[str, ...] = ()


class HostState(StrEnum):
    """What becomes of runs that a host could start."""

    READY = "ready"
    """It starts them."""
    DRAINING = "draining"
    """It starts nothing, and goes on with what runs there."""
    UNREACHABLE = "unreachable"
    """It was not heard of lately. What runs there has its leases, until these are over."""
    GONE = "gone"
    """Its daemon has ended well."""

    @property
    def is_up(self) -> bool:
        """Whether it was heard of lately."""
        return self in (HostState.READY, HostState.DRAINING)


@dataclass(frozen=True, slots=True)
class KnownHost:
    """A host as the others see it.

    Attributes:
        version: Of flowd.
        labels: All, with the one that every host has.
        running: How many runs were under way there when it was heard of last, in so many ``places``.
        seen_at_ms: When it was heard of last, by the store's clock.
        silent_ms: How long ago that is.
        clock_offset_ms: How far its wall clock is ahead of the store's.
        is_self: It is the one that was asked.
        commit: That its workspace is at; None where that is in no repository.
    """

    name: str
    state: HostState
    version: str
    labels: tuple[str, ...]
    running: int
    places: int
    seen_at_ms: int
    silent_ms: int = 0
    clock_offset_ms: int = 0
    is_self: bool = False
    commit: str | None = None


class Startable(NamedTuple):
    """What a host may start.

    Attributes:
        is_any: Whether any run is ready that it can start.
        due_in_ms: How long it is until the next run's time comes.
        is_held: Somebody wants it to start nothing.
    """

    is_any: bool
    due_in_ms: int | None
    is_held: bool = False


_UNFIT = re.compile(r"[^A-Za-z0-9._-]+")
_is_name = re.compile(NAME_PATTERN).fullmatch
_is_label = re.compile(LABEL_PATTERN).fullmatch


def is_name(text: str) -> bool:
    """Whether a host may be called so.

    >>> [is_name(text) for text in ("box-1.example.org", "box_1", "-box", "", "a" * 64)]
    [True, True, False, False, False]
    """
    return _is_name(text) is not None and not text.endswith("\n")


def is_label(text: str) -> bool:
    """Whether a label may be written so.

    >>> [is_label(text) for text in ("gpu", "host:box", "cuda-12.4", "a b", "", "a" * 65)]
    [True, True, True, False, False, False]
    """
    return _is_label(text) is not None and not text.endswith("\n")


def name_from(hostname: str) -> str:
    """A name made of what the system calls this machine, which may be anything.

    >>> name_from("box.example.org"), name_from("Anna's box"), name_from("…"), name_from("a" * 80) == "a" * 63
    ('box.example.org', 'Anna-s-box', 'localhost', True)
    """
    return _UNFIT.sub("-", hostname).strip("._-")[:63].rstrip("._-") or "localhost"


def labels_of(name: str, labels: Iterable[str]) -> frozenset[str]:
    """All labels of a host.

    >>> sorted(labels_of("box", ["gpu"]))
    ['gpu', 'host:box']
    """
    return frozenset((*labels, f"{OWN_LABEL}{name}"))


def missing(runs_on: Iterable[str], labels: Collection[str]) -> list[str]:
    """The labels that a step requires and a host does not have, sorted: none where it can run there.

    >>> missing(["gpu", "big"], {"gpu", "host:box"})
    ['big']
    """
    return sorted(set(runs_on).difference(labels))


class Unserved(StrEnum):
    """Why no host starts a step's runs."""

    DRAINING = "draining"
    """Those that could are to start nothing."""
    LABELS = "labels"
    """It requires labels that this host does not have, and nobody else has them with its package."""
    PACKAGE = "package"
    """No host that lives has a package with it."""
    FOLDER = "folder"
    """Of one run: the host that has the folder of its round cannot start it, or is away."""


class Able(NamedTuple):
    """Who can run a step.

    Attributes:
        lacked: Labels that it requires and this host does not have.
        hosts: How many hosts can run it; None where nobody has counted them yet.
        is_draining: Some could, but are to start nothing.
        names: These hosts, where they share a store.
        bound_to: The only host that counts, as it has the folder of a run's round; None where that is not so.
        required: All labels that it requires, where somebody has looked.
    """

    lacked: list[str]
    hosts: int | None
    is_draining: bool = False
    names: tuple[str, ...] = ()
    bound_to: str | None = None
    required: tuple[str, ...] = ()

    @property
    def unserved(self) -> Unserved | None:
        """Why no host starts its runs; None where one does, or may."""
        if self.hosts != 0:
            return None
        if self.is_draining:
            return Unserved.DRAINING
        if self.bound_to is not None:
            return Unserved.FOLDER
        return Unserved.LABELS if self.lacked else Unserved.PACKAGE

    @property
    def problem(self) -> str | None:
        """Why its runs wait, as a sentence without a subject; None where they need not."""
        match self.unserved:
            case Unserved.DRAINING:
                return "every host that can run it is draining, so its runs wait (`flowd hosts`)"
            case Unserved.LABELS:
                return lacking_sentence(self.lacked)
            case Unserved.PACKAGE:
                return "no host that lives can run it, so its runs wait"
            case Unserved.FOLDER:
                return (
                    f"host {self.bound_to}, which has the folder of its round, is not there to start it, so it waits "
                    "(`flowd hosts`)"
                )
        return None


def lacking_sentence(lacked: Collection[str]) -> str:
    """What it means that this host does not have these labels.

    >>> lacking_sentence(["big", "gpu"])
    'this host has no labels big and gpu, so its runs wait for one that has ([host] labels, or FLOWD_LABELS)'
    """
    noun = "label" if len(lacked) == 1 else "labels"
    return (
        f"this host has no {noun} {' and '.join(lacked)}, so its runs wait for one that has ([host] labels, or "
        f"FLOWD_LABELS)"
    )


def lost_after_ms(asked: int | None, grace_ms: int) -> int:
    """How long nothing is to be heard of a step's host before another one may have its run.

    >>> lost_after_ms(15_000, 5_000), lost_after_ms(None, 5_000), lost_after_ms(None, 60_000)
    (15000, 120000, 180000)
    """
    return max(DEFAULT_LOST_AFTER_MS, _GRACES * grace_ms) if asked is None else asked


def longest_grace_ms(lost_after_ms: int) -> int:
    """The longest grace that leaves a host enough time to renew its lease."""
    return lost_after_ms // _GRACES
