"""What a step may wait for, and what keeps that from ending before the step does. No I/O."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Awaited:
    """A run, or else an event.

    Attributes:
        is_tree: With the event all below it, too.
    """

    run_id: str | None = None
    event_id: str | None = None
    is_tree: bool = False

    def __str__(self) -> str:
        return f"event {self.event_id}" if self.run_id is None else f"run {self.run_id}"


@dataclass(frozen=True, slots=True)
class HeldUp:
    """Why something cannot end before one of some runs does.

    Attributes:
        by: That run, where it is a part of it or something of it needs it; None where they hold all of a key that
            something of it takes.
        is_part: The run itself is what is waited for, or a part of that.
    """

    by: str | None = None
    is_part: bool = False
