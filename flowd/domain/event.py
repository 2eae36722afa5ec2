"""Events: what comes in, checked and normalised. Pure: bytes and clocks are the caller's."""

import hashlib
import re
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from flowd.domain.errors import InvalidEventError

MAX_ID_CHARS = 1024
"""Ids of feeds contain whole URLs; beyond this an id is a mistake."""

MAX_TYPE_CHARS = 256

MAX_DEPTH = 255
"""Levels of an event. JSON readers give up somewhere between a hundred and some thousands: what flowd takes, a step and
every client can read."""

LOOK_AT_ONCE = 20_000
"""Members of an event that are looked at in one go, which takes about 2 ms."""

# C0 controls and DEL: they cannot stand in an environment variable (NUL) or on a terminal line.
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Event:
    """A normalised event.

    Attributes:
        id: The idempotency key.
        type: What triggers are matched against.
        source: Who sent it.
        occurred_at: When it happened, as the sender wrote it.
        received_at: ISO 8601 UTC with milliseconds; ours when the sender gave none.
        payload: Any JSON value; ``{}`` when the sender gave none.
        members: Everything the sender sent, unknown members included, with the normalised values in place.
    """

    id: str
    type: str
    source: str | None
    occurred_at: str | None
    received_at: str
    payload: object
    members: Mapping[str, object]


def normalise(value: object, *, now: str) -> Event:
    """Check an event and fill in what the sender may leave out.

    ``receivedAt`` that is missing, empty or no string becomes ``now``; a missing ``payload`` becomes ``{}``; a
    ``source`` or ``occurredAt`` of null counts as absent. Unknown members stay.

    Raises:
        InvalidEventError: It is no object, ``id`` or ``type`` is no non-empty string of reasonable length without
            control characters, or ``source`` or ``occurredAt`` is no string.
    """
    if not isinstance(value, Mapping):
        raise InvalidEventError(f"An event is a JSON object with id and type; got {_json_type(value)}.")
    members = dict(value)
    event_id = _name(members, "id", MAX_ID_CHARS)
    event_type = _name(members, "type", MAX_TYPE_CHARS)
    source = _optional(members, "source")
    occurred_at = _optional(members, "occurredAt")
    received_at = members.get("receivedAt")
    if not isinstance(received_at, str) or not received_at:
        received_at = members["receivedAt"] = now
    payload = members.setdefault("payload", {})
    return Event(event_id, event_type, source, occurred_at, received_at, payload, members)


def is_too_deep(value: Mapping[str, object]) -> Generator[None, None, bool]:
    """Look whether a JSON object is nested deeper than `MAX_DEPTH`, which the generator returns.

    It costs about 0.1 µs a member, so it yields after every `LOOK_AT_ONCE` members: a large event is not looked at in
    one go.
    """
    level: list[Any] = [value]
    seen = 0
    for depth in range(MAX_DEPTH + 1):
        members = chain.from_iterable(outer.values() if isinstance(outer, dict) else outer for outer in level)
        below: list[Any] = []
        while some := list(islice(members, LOOK_AT_ONCE)):
            if depth == MAX_DEPTH:
                return True
            below += [member for member in some if isinstance(member, dict | list) and member]
            seen += len(some)
            if seen >= LOOK_AT_ONCE:
                seen = 0
                yield
        if not below:
            return False
        level = below
    return False


def fingerprint(canonical: bytes) -> bytes:
    """Sixteen bytes that tell whether two events with one id say the same. ``canonical`` has no ``receivedAt``."""
    return hashlib.blake2b(canonical, digest_size=16).digest()


def _name(members: Mapping[str, object], key: str, max_chars: int) -> str:
    value = members.get(key)
    if not isinstance(value, str):
        got = "nothing" if key not in members else _json_type(value)
        raise InvalidEventError(f"FlowEvent requires string id and type: {key} is {got}.", member=key)
    if not value:
        raise InvalidEventError(f"FlowEvent requires string id and type: {key} is empty.", member=key)
    if len(value) > max_chars:
        raise InvalidEventError(f"The event's {key} has {len(value)} characters; {max_chars} is the most.", member=key)
    if _CONTROL.search(value):
        raise InvalidEventError(f"The event's {key} contains a control character.", member=key)
    return value


def _optional(members: dict[str, object], key: str) -> str | None:
    value = members.get(key)
    if value is None:
        members.pop(key, None)
        return None
    if not isinstance(value, str):
        raise InvalidEventError(f"The event's {key} must be a string; got {_json_type(value)}.", member=key)
    return value


def _json_type(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list() | tuple():
            return "an array"
        case _:
            return "an object"
