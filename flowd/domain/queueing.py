"""Runs on their way into the queue and out of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from flowd.domain.concurrency import WantedKey
from flowd.domain.definition import Definition
from flowd.domain.hosts import HostSession
from flowd.domain.labels import Label
from flowd.domain.needs import NeedEnd, When
from flowd.domain.outcome import Outcome
from flowd.domain.run import Attempt, Run
from flowd.domain.timing import Burst, Timing
from flowd.domain.waiting import TimeWait

MAX_WAITING = 1_000_000
"""Runs that may wait for something, unless a setting says otherwise."""

MAX_AT_ONCE = 5_000
"""Runs that are made at once: of an event, of a replay, or of all that the ``next`` of a result causes. They are stored
in one transaction, for which all others that write wait."""


@dataclass(frozen=True, slots=True)
class QueueBounds:
    """How many runs may be queued.

    Attributes:
        max_queued: Of those that are ready.
        max_waiting: Of those that wait for something.
    """

    max_queued: int
    max_waiting: int = MAX_WAITING

    @property
    def doubled(self) -> "QueueBounds":
        """For what is owed to a run that is there: what it causes, and what people want of it."""
        return QueueBounds(2 * self.max_queued, 2 * self.max_waiting)


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run to create.

    Attributes:
        definition: Of the step that matched. The run starts with the one in force then.
        wait: Until when it may not start; None is at once.
        needs: Names of steps of its flow that have a run in the same list, and have to end first.
        when: What it asks of the ends of its needs.
        copied: Names of steps of its flow that it needs and that have no run in the same list: how their newest runs of
            the event have ended is copied.
        is_named: A person asked for this step, so that it starts whatever the copied needs ended as.
        key: The key that it takes before each attempt.
        round_key: The key that all runs of its flow in the same list take together.
        priority: Of what could start, the higher comes first.
        labels: What it is found by.
        timing: What it waits for of times, beside ``wait``, and how long for a place.
    """

    id: str
    definition: Definition
    replay_of: str | None = None
    wait: TimeWait | None = None
    needs: tuple[str, ...] = ()
    when: When = "success"
    copied: tuple[str, ...] = ()
    is_named: bool = False
    key: WantedKey | None = None
    round_key: WantedKey | None = None
    priority: int = 0
    labels: tuple[Label, ...] = ()
    timing: Timing | None = None

    @property
    def is_timed(self) -> bool:
        """Whether it waits for a time before it may start, once it needs nothing any more."""
        return self.wait is not None or (self.timing is not None and self.timing.is_wait)

    @property
    def has_key(self) -> bool:
        """Whether it takes a key before it may start, its own or its round's."""
        return self.key is not None or self.round_key is not None


@dataclass(frozen=True, slots=True)
class Claim:
    """A demand for runs to start.

    Attributes:
        limit: How many at most; with 0 only those become ready whose time has come.
        definition_of: The definition in force of a flow's step; None where it has none. Called in any thread.
        at_ms: By the wall clock.
        steady_ms: By the clock that waits go by.
        host: Who claims, in a store that hosts share: runs that it cannot start are left to others. None in one that
            is this daemon's own.
        asked_s: By the clock of leases, before the store is asked.
    """

    limit: int
    worker_id: str
    boot_id: str
    definition_of: Callable[[str, str], Definition | None]
    at_ms: int
    steady_ms: int
    host: HostSession | None = None
    asked_s: float = 0.0


@dataclass(frozen=True, slots=True)
class StartedRun:
    """A queued run that was just marked running, with all that starting it needs; ``needs`` is how those ended that it
    needs, in the order of its needs. ``lease_until_s``: see `flowd.domain.launching.Launch`. ``burst``: the events for
    which it stands, where its step waits for quiet.

    ``fence`` grows with each attempt of the run, on whichever host; where runs take turns by a key that one of them has
    at a time, from each to the next. It is the number that the run got when it became ready, which nobody else gets.
    """

    run: Run
    attempt: Attempt
    definition: Definition
    event_body: bytes
    needs: tuple[NeedEnd, ...] = ()
    traceparent: str | None = None
    lease_until_s: float | None = None
    fence: int = 0
    burst: Burst | None = None


@dataclass(frozen=True, slots=True)
class Claimed:
    """What a claim came to.

    Attributes:
        started: In the order of their priorities, and within one of when they became ready.
        next_due_ms: When the next run's time comes, None where none waits for it.
        has_more: More could start now, or, with a limit of 0, perhaps could.
        is_missing_package: Some runs wait for their package from now on.
    """

    started: tuple[StartedRun, ...] = ()
    next_due_ms: int | None = None
    has_more: bool = False
    is_missing_package: bool = False


@dataclass(frozen=True, slots=True)
class Finished:
    """What recording an attempt's end came to.

    Attributes:
        run: As it is from then on.
        claimed: What may start now, if that was asked.
        outcome: The recorded one, where it is another than was asked for.
    """

    run: Run
    claimed: Claimed | None = None
    outcome: Outcome | None = None


@dataclass(frozen=True, slots=True)
class Caused:
    """An event that the end of a run caused, or would have.

    Attributes:
        how: Whether it, or a new round of it, was stored.
        flows: The flows of the runs that were made for it, one for each run.
    """

    how: Literal["accepted", "duplicate", "conflict"]
    flows: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SideEffects:
    """What a commit did beside what was asked for.

    Attributes:
        ended: Runs that ended unstarted.
        to_end: Running runs that are to end, because younger ones of their keys wait for that.
        is_any_ready: Some runs that waited may start now.
        next_due_ms: The time of a run that has begun to wait for it, by the steady clock; None where none has.
        caused: Events that results caused.
        has_notices: Notices are to be sent.
    """

    ended: tuple[Run, ...] = ()
    to_end: tuple[str, ...] = ()
    is_any_ready: bool = False
    caused: tuple[Caused, ...] = ()
    has_notices: bool = False
    next_due_ms: int | None = None


@dataclass(frozen=True, slots=True)
class LeftRunning:
    """A run that was running when its daemon ended."""

    run: Run
    attempt: Attempt
    definition: Definition
