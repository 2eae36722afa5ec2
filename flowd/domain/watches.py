"""Watches: files whose changes become events. No I/O."""

from dataclasses import dataclass
from typing import Literal

DEFAULT_SETTLE_MS = 300
"""An editor that saves by rename, a formatter that runs on save, a checkout of some files: done within this time."""

MIN_SETTLE_MS = 10
"""Two writes within one tick of the file system's clock (4 ms on most) leave the same times."""

MAX_SETTLE_MS = 600_000

Change = Literal["added", "modified", "deleted"]


@dataclass(frozen=True, slots=True)
class Watch:
    """What a flow wants to hear of.

    Attributes:
        flow: The flow's name.
        name: Of the watch within its flow.
        paths: Patterns as in a ``.gitignore``, relative to the workspace; the last one that fits a file decides, and
            one that begins with ``!`` leaves it out.
        type: Of the events.
        settle_ms: What has changed is told once nothing has changed for as long.
        gitignore: Whether files do not count that a ``.gitignore`` in the workspace leaves out.
    """

    flow: str
    name: str
    paths: tuple[str, ...]
    type: str
    settle_ms: int = DEFAULT_SETTLE_MS
    gitignore: bool = True

    @property
    def label(self) -> str:
        """``flow/watch``, as messages name it."""
        return f"{self.flow}/{self.name}"

    @property
    def longest_ms(self) -> int:
        """How long changes that go on and on are waited out before they are told all the same.

        >>> Watch("f", "w", ("src",), "t").longest_ms, Watch("f", "w", ("src",), "t", settle_ms=10).longest_ms
        (3000, 1000)
        """
        return max(1_000, 10 * self.settle_ms)
