"""What flow packages declare, as far as it decides what runs when."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Literal

When = Literal["success", "not_failed", "failure", "always", "finally"]
OnBusy = Literal["queue", "skip", "replace", "latest"]


@dataclass(frozen=True)
class Key:
    """One at a time, or ``limit``, for each value of a member of the payload.

    Attributes:
        member: None is one key for all.
    """

    group: str
    member: str | None = None
    limit: int = 1
    on_busy: OnBusy = "queue"

    def __repr__(self) -> str:
        return f"<{self.on_busy} {self.group}{'' if self.member is None else f'[{self.member}]'} {self.limit}>"


@dataclass(frozen=True)
class Quiet:
    """One run for the last of several events; of each value of the payload's member, or of all.

    Attributes:
        max_ms: It waits no longer than this after the first of them; None: as long as it is not quiet.
    """

    quiet_ms: int
    max_ms: int | None = None
    has_key: bool = False

    def __repr__(self) -> str:
        return f"<{self.quiet_ms} {self.max_ms}{' keyed' if self.has_key else ''}>"


@dataclass(frozen=True)
class Step:
    """One step.

    Attributes:
        type: Of the events that trigger it; None where it has no trigger.
        max_attempts: Its own policy makes another attempt after one that exits badly, until there are so many.
        delay_ms: It waits so long after its needs, else after its event.
        queue_timeout_ms: It may wait so long for its key and its place.
        quiet: The quiet that it waits for.
    """

    flow: str
    name: str
    type: str | None = None
    needs: tuple[str, ...] = ()
    when: When = "success"
    key: Key | None = None
    priority: int = 0
    max_attempts: int = 1
    delay_ms: int = 0
    queue_timeout_ms: int | None = None
    quiet: Quiet | None = None

    def __str__(self) -> str:
        told = [
            f"{one.name}={getattr(self, one.name)}" for one in fields(self) if getattr(self, one.name) != one.default
        ]
        return f"{self.name}({', '.join(told[2:])})"


EDITED = 3
"""The version of each flow in which it has other steps than before."""


@dataclass(frozen=True)
class Flow:
    """One flow. Its own key is held by whole rounds.

    Attributes:
        edited: Its steps in version `EDITED`.
    """

    name: str
    steps: tuple[Step, ...]
    key: Key | None = None
    edited: tuple[Step, ...] = ()

    def __str__(self) -> str:
        edited = f"  edited: {'  '.join(map(str, self.edited))}" if self.edited else ""
        rounds = f"  rounds: {self.key}" if self.key else ""
        return f"{self.name}: {'  '.join(map(str, self.steps))}{rounds}{edited}"

    def in_version(self, version: int) -> Flow:
        """As it is in this version."""
        return replace(self, steps=self.edited) if version == EDITED and self.edited else self

    def step(self, name: str) -> Step | None:
        """The step of this name."""
        return next((step for step in self.steps if step.name == name), None)

    def matching(self, event_type: str) -> list[Step]:
        """The steps of a round for events of this type: those whose trigger, if any, and all of whose needs are in."""
        found: dict[str, Step] = {}
        for step in self.steps:  # needs come before what needs them
            is_meant = step.type == event_type or (step.type is None and bool(step.needs))
            if is_meant and all(need in found for need in step.needs):
                found[step.name] = step
        return list(found.values())


@dataclass(frozen=True)
class NextEvent:
    """An event that a step's result asks for. Without an id it gets one from its run and its place in the list."""

    type: str
    key: str
    id: str | None = None
    not_before_ms: int | None = None

    def __repr__(self) -> str:
        later = "" if self.not_before_ms is None else f"@{self.not_before_ms}"
        return f"{self.id or 'next'}:{self.type}:{self.key}{later}"


@dataclass(frozen=True)
class End:
    """How an attempt ends.

    Attributes:
        code: What its process exits with; None where flowd ended it.
        says: The status of its result; None where it prints none.
        next: None where ``next`` is no list of events.
    """

    code: int | None
    says: str | None = None
    next: tuple[NextEvent, ...] | None = ()

    def __str__(self) -> str:
        told = "stopped" if self.code is None else f"exit {self.code}"
        return f"{told} {self.says or ''} {'' if self.next == () else self.next}".rstrip()
