"""The requests of one connection that have no response yet, by their ids, so that their caller can cancel them.

As the Language Server Protocol has it: a notification ``$/cancelRequest`` with the ``id``. The request is answered all
the same, with an error.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from flowd.api import json

CANCEL = b"$/cancelRequest"
_BATCHES_AT_ONCE = 4
"""Of one connection."""

_MAX_BYTES = 1024
"""Of the notification; a longer one is none."""


@dataclass(slots=True)
class Outcome:
    """What has become of a call."""

    response: dict[str, Any] | None = None
    is_cancelled: bool = False
    task: asyncio.Task[Any] | None = field(default=None, repr=False)


def cancelled_id(message: bytes) -> object:
    """The id that a message wants to cancel; None for every other message.

    >>> cancelled_id(b'{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":7}}')
    7
    """
    if len(message) > _MAX_BYTES or CANCEL not in message:
        return None
    try:
        value = json.decode(message)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or value.get("method") != CANCEL.decode() or "id" in value:
        return None
    given = value.get("params")
    found = given.get("id") if isinstance(given, dict) else None
    return found if isinstance(found, str | int | float) else None


class Calls:
    """Those of one connection."""

    def __init__(self) -> None:
        self.batches = asyncio.Semaphore(_BATCHES_AT_ONCE)
        self._under_way: dict[object, Outcome] = {}
        self._unwanted: set[object] = set()

    @asynccontextmanager
    async def call(self, request_id: object) -> AsyncIterator[Outcome]:
        """Around the making of a response; ends early, and without an error, where the caller wants none any more."""
        outcome = Outcome(task=asyncio.current_task())
        is_known = isinstance(request_id, str | int | float) and request_id not in self._under_way
        if is_known:
            self._under_way[request_id] = outcome
            if request_id in self._unwanted:
                self._unwanted.discard(request_id)
                self.cancel(request_id, is_waiting=False)
        try:
            yield outcome
        except asyncio.CancelledError:
            if not outcome.is_cancelled or outcome.task is None or outcome.task.uncancel() > 0:
                raise
        finally:
            if is_known:
                del self._under_way[request_id]

    def cancel(self, request_id: object, *, is_waiting: bool) -> None:
        """End a call. ``is_waiting``: there are requests that have not begun, and it may be one of them."""
        outcome = self._under_way.get(request_id)
        if outcome is None:
            if is_waiting:
                self._unwanted.add(request_id)
        elif outcome.task is not None and not outcome.is_cancelled:
            outcome.is_cancelled = True
            outcome.task.cancel()

    def forget_unwanted(self) -> None:
        """All requests have begun: what was not among them had its response already, and its id may come again."""
        self._unwanted.clear()
