"""Watches: files whose changes become events. No I/O."""

import base64
import os
from collections.abc import Iterable
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


MAX_CHANGES = 1_000
"""That an event names; it tells how many there were."""

MAX_CHANGES_BYTES = 256 * 1024
"""Of the paths in an event: a thousand deep ones would be more than a step wants to read, and than many may send."""


def payload(watch: Watch, changes: Iterable[tuple[str, Change]], *, max_bytes: int) -> dict[str, object]:
    """What an event says: ``flow`` and ``watch``, how many files have changed (``count``), and which (``changes``);
    ``truncated`` where these are not all.

    >>> payload(Watch("f", "w", ("src",), "t"), [("a", "added"), ("b\\udcff", "deleted")], max_bytes=1000)["changes"]
    [{'path': 'a', 'change': 'added'}, {'pathBase64': 'Yv8=', 'change': 'deleted'}]
    """
    told: list[dict[str, str]] = []
    count = size = 0
    for path, change in changes:
        count += 1
        size += 2 * len(path) + 32
        if len(told) == count - 1 < MAX_CHANGES and size <= max_bytes:
            told.append({**_named(path), "change": change})
    members: dict[str, object] = {"flow": watch.flow, "watch": watch.name, "count": count, "changes": told}
    return members if len(told) == count else {**members, "truncated": True}


def _named(path: str) -> dict[str, str]:
    try:
        path.encode()
    except UnicodeEncodeError:
        return {"pathBase64": base64.b64encode(os.fsencode(path)).decode()}
    return {"path": path}


WatchStatus = Literal["starting", "watching", "polling", "off"]


@dataclass(frozen=True, slots=True)
class WatchState:
    """How a watch is.

    Attributes:
        status: ``polling``: the system cannot watch just now, so the files are looked at now and then. ``off``: they
            are not, and ``problem`` says why.
        files: How many there are.
        is_changing: Something has changed and is not told yet.
        last_event_id: Of its newest event, and when that was made.
        problem: What keeps it from telling of changes, or makes it slow; None where nothing does.
    """

    watch: Watch
    status: WatchStatus
    files: int = 0
    is_changing: bool = False
    last_event_id: str | None = None
    last_event_at: str | None = None
    problem: str | None = None
