"""The queue as people look at it."""

from collections.abc import Mapping
from dataclasses import dataclass

from flowd.domain.pauses import Pause
from flowd.domain.run import Run
from flowd.domain.stored import Page


@dataclass(frozen=True, slots=True)
class Depth:
    """How many queued runs wait for the same kind of thing.

    Attributes:
        waits_for: ``place`` are those that are ready; the others wait for ``needs``, a ``person``, a ``time``, a
            ``pause``, a ``key`` or a ``package``.
        since_ms: Since when the one that has waited for it longest has done so, by the wall clock.
    """

    waits_for: str
    runs: int
    since_ms: int


@dataclass(frozen=True, slots=True)
class StepQueue:
    """How many queued runs of a step a host has to start.

    Attributes:
        bound_to: The host that alone can start them; None where any may.
        is_missing: They wait for a package that has the step.
    """

    flow_name: str
    step_name: str
    bound_to: str | None
    runs: int
    is_missing: bool = False


@dataclass(frozen=True, slots=True)
class QueueView:
    """What is queued: a part of it, in the order in which it will start as far as that is known.

    Attributes:
        page: First those that are ready, then those that wait, the oldest first.
        ready: How many are ready in all.
        waiting: How many wait for something.
        rounds_behind: Of the runs of the page that wait for a person's answer: how many rounds wait for the key that
            their round holds, where there are any; by the run's id.
    """

    page: Page[Run]
    ready: int
    waiting: int
    pauses: tuple[Pause, ...]
    rounds_behind: Mapping[str, int]
