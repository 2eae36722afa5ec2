"""The requests of one connection that have no response yet, by their ids, so that their caller can cancel them.

As the Language Server Protocol has it: a notification ``$/cancelRequest`` with the ``id``. The request is answered all
the same, with an error.
"""

import asyncio
from types import TracebackType
from typing import Any

from flowd.api import json

CANCEL = b"$/cancelRequest"
_BATCHES_AT_ONCE = 4
"""Of one connection."""

_MAX_UNWANTED = 1024
"""Ids that were cancelled before their request has begun. Fewer than these wait on one connection, batches apart; the
oldest goes, for most likely there is no such request."""

_MAX_BYTES = 1024
"""Of the notification; a longer one is none."""


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
        self._under_way: dict[object, Call] = {}
        self._unwanted: dict[object, None] = {}

    def call(self, request_id: object) -> "Call":
        """To be used as ``with`` around the making of a response, in its task."""
        return Call(self._under_way, self._unwanted, request_id)

    def cancel(self, request_id: object, *, is_waiting: bool) -> None:
        """End a call. ``is_waiting``: there are requests that have not begun, and it may be one of them."""
        call = self._under_way.get(request_id)
        if call is not None:
            call.cancel()
        elif is_waiting:
            self._unwanted[request_id] = None
            if len(self._unwanted) > _MAX_UNWANTED:
                del self._unwanted[next(iter(self._unwanted))]

    def forget_unwanted(self) -> None:
        """All requests have begun: what was not among them had its response already, and its id may come again."""
        self._unwanted.clear()


class Call:
    """Around the making of a response; ends early, and without an error, where the caller wants none any more.

    Attributes:
        is_cancelled: The caller wanted none any more.
    """

    __slots__ = ("_is_known", "_request_id", "_task", "_under_way", "_unwanted", "is_cancelled")

    def __init__(self, under_way: dict[object, "Call"], unwanted: dict[object, None], request_id: object) -> None:
        self._under_way = under_way
        self._unwanted = unwanted
        self._request_id = request_id
        self._is_known = False
        self._task: asyncio.Task[Any] | None = None
        self.is_cancelled = False

    def __enter__(self) -> "Call":
        """The call begins; what its caller has cancelled before ends at its first wait."""
        self._task = asyncio.current_task()
        if isinstance(self._request_id, str | int | float) and self._request_id not in self._under_way:
            self._is_known = True
            self._under_way[self._request_id] = self
            if self._request_id in self._unwanted:
                del self._unwanted[self._request_id]
                self.cancel()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """The call is over. Swallows its own cancellation, and nobody else's."""
        if self._is_known:
            del self._under_way[self._request_id]
        if not isinstance(error, asyncio.CancelledError) or not self.is_cancelled or self._task is None:
            return False
        return self._task.uncancel() <= 0

    def cancel(self) -> None:
        """End it. Idempotent."""
        if self._task is not None and not self.is_cancelled:
            self.is_cancelled = True
            self._task.cancel()
