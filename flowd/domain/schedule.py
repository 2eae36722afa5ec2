"""A schedule of a flow as its manifest defines it, and the names of what it tells."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from flowd.domain.instants import instant

TASKS = "workspace.toml"
"""What is shown in the place of a flow for tasks of a workspace. They have no flow: theirs has no name."""

CatchUp = Literal["latest", "none"]


@dataclass(frozen=True)
class Schedule:
    """When an event of a type comes by itself.

    Attributes:
        cron: As written: five fields, or a word such as ``@daily``.
        timezone: The zone by whose clock it is meant, by its IANA name.
        payload: Of each event; a JSON value.
        catch_up: Of the slots that nobody was there for: ``latest`` tells the newest one, ``none`` leaves all out.
        source: Of each event; None says the schedule itself.
        members: What else each event has.
    """

    name: str
    cron: str
    type: str
    timezone: str = "UTC"
    payload: object = None
    catch_up: CatchUp = "latest"
    source: str | None = None
    members: Mapping[str, object] = field(default_factory=dict)

    @cached_property
    def rule(self) -> str:
        """The same for the same definition: who edits a schedule begins another one."""
        parts = [self.cron, self.timezone, self.type, self.payload, self.catch_up, self.source, self.members]
        text = json.dumps(parts, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def slot_text(slot_ms: int) -> str:
    """A slot as ids of events have it: by UTC, in seconds.

    >>> slot_text(1700000040000)
    '2023-11-14T22:14:00Z'
    """
    return f"{instant(slot_ms)[:-5]}Z"


def event_id(flow: str, name: str, slot_ms: int) -> str:
    """The id of the event of a slot, whichever host tells it. A task of a workspace has no flow.

    >>> event_id("backup", "every-night", 1700000040000)
    'schedule:backup/every-night:2023-11-14T22:14:00Z'
    >>> event_id("", "shop:every-night", 1700000040000)
    'workspace:shop:every-night:2023-11-14T22:14:00Z'
    """
    if not flow:
        return f"workspace:{name}:{slot_text(slot_ms)}"
    return f"schedule:{flow}/{name}:{slot_text(slot_ms)}"


def source(flow: str, name: str) -> str:
    """Who its events say has sent them."""
    return f"schedule:{flow}/{name}"
