"""What the model remembers: events, rounds, runs and keys."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from model.flows import Flow, Key, NextEvent, Step

ASKING = ("blocked", "needs_intervention")
WELL = ("completed", "changed")
UNFINISHED = ("queued", "running")


@dataclass(eq=False)
class Event:
    """An event.

    Attributes:
        cause: The run that caused it first; None where somebody dispatched it.
        causes: All rounds that have caused it.
    """

    id: str
    type: str
    key: str
    cause: Run | None = None
    rounds: list[Round] = field(default_factory=list)
    causes: list[Round] = field(default_factory=list)

    @property
    def depth(self) -> int:
        """How many causes it has."""
        return 0 if self.cause is None else self.cause.round.event.depth + 1

    @property
    def root(self) -> Event:
        """The event that the tree began with."""
        return self if self.cause is None else self.cause.round.event.root

    def is_below(self, top: Event) -> bool:
        """Whether it is that event, or was caused below it."""
        return self is top or (self.cause is not None and self.cause.round.event.is_below(top))


@dataclass(eq=False, repr=False)
class Round:
    """The runs that one accept or one replay makes of one flow for an event.

    Attributes:
        key: The payload's member that keys are made of, as this round was accepted or caused with.
        cause: The round that caused it; None where somebody asked for it.
        is_canceled: Its event was canceled, and nobody has retried anything of it since.
    """

    seq: int
    event: Event
    flow: Flow
    number: int
    key: str
    cause: Round | None = None
    runs: dict[str, Run] = field(default_factory=dict)
    is_canceled: bool = False

    def __repr__(self) -> str:
        return f"{self.event.id}#{self.number}.{self.flow.name}"

    @property
    def priority(self) -> int:
        """The highest of its steps'."""
        return max(run.step.priority for run in self.runs.values())

    @property
    def unfinished(self) -> list[Run]:
        """Its runs that have not ended."""
        return [run for run in self.runs.values() if run.status in UNFINISHED]

    @property
    def only_asks(self) -> bool:
        """Whether all that is unfinished in it waits for a person's word on one of its questions."""
        waits = [None if run.waits is None else run.waits.kind for run in self.unfinished]
        return "person" in waits and all(kind in ("person", "needs") for kind in waits)


@dataclass(frozen=True)
class Copied:
    """How a need had ended that a replay copied."""

    status: str
    is_below_failure: bool


@dataclass(frozen=True)
class Wait:
    """What keeps a queued run. ``what`` is names of needs, a run that asks, what is paused, or a key's lane."""

    kind: Literal["needs", "person", "time", "instant", "pause", "key", "package"]
    what: object = None
    until_ms: int = 0
    whole_ms: int = 0


@dataclass(eq=False, repr=False)
class Run:
    """A run.

    Attributes:
        copied: How needs ended that are not in its round.
        is_named: A replay named it: it does not ask how its copied needs ended.
        is_below_failure: It was not run because something above it failed.
        waits: What keeps it while it is queued; None where it is ready, with its number in ``ready``.
        gone_since_ms: Of those that wait for their package: since when that has not had their step, as was noted.
        ending: Why it is being ended while it runs.
        is_called_off: Its event was canceled: it does not start any more, and asks nobody.
        attempts_before: Attempts that its policy does not count: those before a person's answer.
        is_answered: Its attempts are told a person's answer.
        shown: The version of its flow that it shows: its last attempt's.
        showed: The one before its last attempt began.
        max_attempts: What its policy says, as its package was when its last attempt began.
        next: What its result asked for, to be sent when a person says that it ended well.
        not_before_ms: It starts no earlier than this, by the wall clock.
        waits_for_quiet: Nobody asked for it in a replay.
        expires_ms: Until when it may wait for its key or its place; None where it waits for neither.
        queue_left_ms: How long it could when it last began to, or can when it goes on with that.
        queued_until: Both as they were before its last start.
    """

    seq: int
    round: Round
    step: Step
    shown: int
    copied: dict[str, Copied] = field(default_factory=dict)
    is_named: bool = False
    status: str = "queued"
    result: str | None = None
    resolution: str | None = None
    reason: str | None = None
    is_below_failure: bool = False
    waits: Wait | None = None
    gone_since_ms: int | None = None
    ready: int = 0
    ending: Literal["canceled", "superseded"] | None = None
    is_called_off: bool = False
    attempts: int = 0
    max_attempts: int = 1
    attempts_before: int = 0
    is_answered: bool = False
    next: tuple[NextEvent, ...] | None = ()
    showed: int = 0
    not_before_ms: int | None = None
    waits_for_quiet: bool = True
    expires_ms: int | None = None
    queue_left_ms: int | None = None
    queued_until: tuple[int | None, int | None] = (None, None)

    def __repr__(self) -> str:
        return f"{self.round}/{self.step.name}"

    @property
    def priority(self) -> int:
        """Its step's."""
        return self.step.priority

    @property
    def effective(self) -> str:
        """What a person said of it, else what it said of itself, else what flowd saw."""
        return self.resolution or self.result or self.status

    @property
    def asks(self) -> bool:
        """Whether it is a question: ended asking, and nobody has answered."""
        return self.status not in UNFINISHED and self.effective in ASKING

    @property
    def is_ready(self) -> bool:
        """Whether only a place is missing."""
        return self.status == "queued" and self.waits is None

    @property
    def needs(self) -> list[Run]:
        """The runs of its round that it needs."""
        return [self.round.runs[name] for name in self.step.needs if name in self.round.runs]

    @property
    def dependents(self) -> list[Run]:
        """The runs of its round that need it."""
        return [run for run in self.round.runs.values() if self in run.needs]

    @property
    def all_below(self) -> list[Run]:
        """Its dependents, theirs, and so on, in their order of acceptance."""
        found: set[Run] = set()
        for run in self.round.runs.values():
            if self in run.needs or found.intersection(run.needs):
                found.add(run)
        return sorted(found, key=lambda run: run.seq)


@dataclass(eq=False)
class Lane:
    """One key: who holds it, and who waits for it. Runs in the lanes of steps, rounds in those of flows."""

    group: str
    limit: int
    holders: list[Run | Round] = field(default_factory=list)
    waiting: list[Run | Round] = field(default_factory=list)

    @property
    def has_room(self) -> bool:
        """Whether one more may hold it."""
        return len(self.holders) < self.limit

    def told_to(self, run: Run) -> tuple[str, str, int]:
        """The group, a run that holds the key, and how many come before a run, or its round, that waits."""
        me = run if run in self.waiting else run.round
        waiting, holders = (sorted(of, key=lambda one: (-one.priority, one.seq)) for of in (self.waiting, self.holders))
        holder = holders[0] if isinstance(holders[0], Run) else holders[0].unfinished[0]
        return self.group, str(holder), waiting.index(me)

    def first(self) -> Run | Round:
        """Who takes it next."""
        return min(self.waiting, key=lambda one: (-one.priority, one.seq))


def declared_key(one: Run | Round) -> Key | None:
    """The key that it asks for."""
    return one.step.key if isinstance(one, Run) else one.flow.key
