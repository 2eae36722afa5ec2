"""Reads request bodies whole: each within a size and a time, all together within a budget of memory."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from flowd.api.http.asgi import ClientGoneError, Receive
from flowd.api.http.guard import Headers, first
from flowd.api.http.responses import HttpError

SMALL_BYTES = 64 * 1024
"""As much as a connection buffers in any case; such a body needs no room in the budget."""

_MIN_BUDGET_BYTES = 32 * 1024 * 1024
_GRACE_S = 0.2
_PROVEN_GRACE_S = 2.0
"""How long a sender may take while others wait for its room: one that has not proven itself yet, and one that has."""

_LOOK_S = 0.02


@dataclass(eq=False, slots=True)
class _Place:
    size: int
    limit: asyncio.Timeout
    began_s: float
    is_proven: bool
    is_waiting: bool = False
    is_evicted: bool = False


class Bodies:
    """Reads bodies. Those that are larger than `SMALL_BYTES` share a budget, and wait for room in it.

    Room is taken for a whole body before its first byte is read, so that no two wait for each other. Who is slow gives
    its room to who waits, and soonest a sender whose signature can only be checked when its body is there.
    """

    def __init__(self, *, max_bytes: int, within_s: float) -> None:
        """``max_bytes`` and ``within_s`` are of one body."""
        self._max_bytes = max_bytes
        self._within_s = within_s
        self._budget = max(_MIN_BUDGET_BYTES, 2 * max_bytes)
        self._places: list[_Place] = []

    async def read(self, receive: Receive, headers: Headers, *, is_proven: bool) -> bytes:
        """The whole body.

        A length that is announced too large is refused before anything is read; one that is not announced is counted.

        Raises:
            HttpError: ``body_too_large``, ``too_many_bodies``, ``request_timeout`` or ``bad_request``.
            ClientGoneError: The caller hung up in the middle.
        """
        length = first(headers, b"content-length")
        if length is not None and (not length.isdigit() or int(length) > self._max_bytes):
            raise _too_large(self._max_bytes)
        is_chunked = first(headers, b"transfer-encoding") is not None
        if length in (None, "0") and not is_chunked:
            return b""
        size = self._max_bytes if is_chunked or length is None else int(length)
        place: _Place | None = None
        try:
            async with asyncio.timeout(self._within_s) as limit:
                place = _Place(size, limit, asyncio.get_running_loop().time(), is_proven)
                async with self._room(place):
                    return await _whole(receive, self._max_bytes)
        except TimeoutError:
            if place is not None and (place.is_evicted or place.is_waiting):
                raise _no_room() from None
            message = f"The body did not arrive within {self._within_s:.0f} s."
            raise HttpError("request_timeout", message, closes=True) from None

    @asynccontextmanager
    async def _room(self, place: _Place) -> AsyncIterator[None]:
        if place.size <= SMALL_BYTES:
            yield
            return
        loop = asyncio.get_running_loop()
        place.is_waiting = True
        while self._places and sum(other.size for other in self._places) + place.size > self._budget:
            self._evict(loop.time())
            await asyncio.sleep(_LOOK_S)
        place.is_waiting = False
        place.began_s = loop.time()
        self._places.append(place)
        try:
            yield
        finally:
            self._places.remove(place)

    def _evict(self, now_s: float) -> None:
        """Take the room of the one that has had it for longest, if that was long enough."""
        for place in self._places:
            grace_s = _PROVEN_GRACE_S if place.is_proven else _GRACE_S
            if not place.is_evicted and now_s - place.began_s > grace_s:
                place.is_evicted = True
                place.limit.reschedule(now_s)
                return


async def _whole(receive: Receive, max_bytes: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        part = message.get("body", b"")
        size += len(part)
        if size > max_bytes:
            raise _too_large(max_bytes)
        parts.append(part)
        if not message.get("more_body"):
            return parts[0] if len(parts) == 1 else b"".join(parts)


def _no_room() -> HttpError:
    return HttpError(
        "too_many_bodies",
        "Large bodies of other requests take up all the memory that there is for them. Send this again in a moment.",
        headers={"retry-after": "1"},
        closes=True,
    )


def _too_large(max_bytes: int) -> HttpError:
    return HttpError(
        "body_too_large",
        f"The body is larger than {max_bytes} bytes. Put large data into a file, and its path into the event; "
        f"or raise max_payload_bytes or [http] max_body_bytes.",
        maxBodyBytes=max_bytes,
    )
