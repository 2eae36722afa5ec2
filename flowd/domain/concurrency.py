"""How many runs of a step, or rounds of a flow, may be under way at a time for each value of a key."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from flowd.domain import pointer

OnBusy = Literal["queue", "skip", "replace", "latest"]
"""What becomes of who comes to a key that others hold: it waits; it ends unstarted; it ends the older one that holds
the key and follows it; it waits and ends the older ones that wait, too."""

Kind = Literal["step", "flow"]
"""Keys of single runs and keys of whole rounds. Their groups are two name spaces."""

KeyLimits = Mapping[tuple[Kind, str], int]
"""How many may hold a key of a group at a time."""

MAX_KEY_CHARS = 1_000
"""Of a key as JSON, for showing and comparing it. A longer one goes by its hash."""

_SHOWN_CHARS = 100


@dataclass(frozen=True, slots=True)
class Concurrency:
    """What ``[steps.concurrency]`` or ``[concurrency]`` asks for.

    Attributes:
        group: Who names the same group shares its keys; None is a group of the step's or the flow's own.
        key: JSON Pointers into the event. Without any, all events have the same key.
        limit: How many may hold one key at a time; for a group the smallest that anybody declares.
    """

    group: str | None = None
    key: tuple[str, ...] = ()
    limit: int = 1
    on_busy: OnBusy = "queue"


@dataclass(frozen=True, slots=True)
class WantedKey:
    """The key that a run or a round takes before it may start, as it was when the event was accepted.

    Attributes:
        key: The values in the event as a JSON array.
        limit: How many may hold the key at a time.
    """

    group: str
    key: str
    limit: int = 1
    on_busy: OnBusy = "queue"


def wanted(
    asked: Concurrency, event: Mapping[str, object], *, group: str, limit: int, canonical: Callable[[object], bytes]
) -> WantedKey:
    """The key of an event.

    Args:
        event: The normalised event.
        group: The one that is named, or the own one.
        limit: The group's.
        canonical: Makes JSON with sorted keys.
    """
    return WantedKey(group, key_of(event, asked.key, canonical), limit, asked.on_busy)


def key_of(event: Mapping[str, object], pointers: Sequence[str], canonical: Callable[[object], bytes]) -> str:
    """The values in an event at these JSON Pointers as a JSON array; what is not there is null, and what is long goes
    by its hash."""
    return _bounded(canonical([_value(event, text) for text in pointers]).decode())


def _value(event: Mapping[str, object], text: str) -> object:
    found = pointer.find(event, pointer.parse(text))
    return None if found is pointer.MISSING else found


def _bounded(key: str) -> str:
    """A long key as its beginning and its hash, which is another key for other values.

    >>> _bounded('["a"]'), len(_bounded("[" + '"' + "a" * 2000 + '"' + "]"))
    ('["a"]', 176)
    """
    if len(key) <= MAX_KEY_CHARS:
        return key
    shown = "".join(char if char.isprintable() and char not in '"\\' else "?" for char in key[1:_SHOWN_CHARS])
    digest = hashlib.sha256(key.encode()).hexdigest()
    return f'["{shown}… sha256:{digest}"]'


def gives_way_to(way: OnBusy, me: int, *, holding: Sequence[int], waiting: Sequence[int]) -> int | None:
    """The younger one that somebody who came to a busy key gives way to, so that it ends itself; None where it stays.

    Args:
        me: Its number in the order of acceptance, as are the others.
        holding: Who holds the key.
        waiting: Who waits for it and gives way to younger ones, too.

    >>> gives_way_to("replace", 2, holding=[3], waiting=[]), gives_way_to("latest", 2, holding=[3], waiting=[1])
    (3, None)
    """
    rivals = {"replace": [*holding, *waiting], "latest": waiting}.get(way, [])
    youngest = max(rivals, default=me)
    return youngest if youngest > me else None


def ends(way: OnBusy, me: int, *, holding: Sequence[int], waiting: Sequence[int]) -> list[int]:
    """The older ones that somebody ends who came to a busy key and stays.

    >>> [ends(way, 9, holding=[3], waiting=[5]) for way in ("replace", "latest", "queue")]
    [[5, 3], [5], []]
    """
    rivals = {"replace": [*waiting, *holding], "latest": waiting}.get(way, [])
    return [one for one in rivals if one < me]
