"""Subscriptions: a task for each, which pulls updates from the feed and pushes them to the connection that asked.

A connection has one `Subscriber`, each of its messages one `Caller`. A subscription begins to push after the response
to the message that asked for it, so that its first update never comes before its name is known.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from itertools import count
from typing import Any

from flowd.api import json
from flowd.api.failures import error_from
from flowd.api.shapes.updates import Subscribe, SubscribedView, Unsubscribe, UnsubscribedView, UpdateView, update_view
from flowd.domain.errors import CursorExpiredError, SubscriptionNotFoundError, TooManySubscriptionsError
from flowd.domain.flow import Snapshot
from flowd.domain.journal import JOURNALED, Interest
from flowd.engine.feed import Feed, cursor_text
from flowd.engine.tails import OutputPlace
from flowd_client import wire

log = logging.getLogger("flowd.api")

MAX_SUBSCRIPTIONS = 1024
MAX_OF_CONNECTION = 32

Push = Callable[[bytes], Awaitable[None]]
"""Sends a message to the other end; returns when there is room for the next one. Raises `ConnectionError`."""


class Subscriptions:
    """All subscriptions of a daemon."""

    def __init__(self, feed: Feed, snapshot: Callable[[], Snapshot]) -> None:
        """``snapshot`` gives the catalog in force."""
        self.feed = feed
        self.snapshot = snapshot
        self.open_count = 0
        self.names = count(1)

    def subscriber(self, push: Push) -> "Subscriber":
        """For a new connection."""
        return Subscriber(self, push)


class Subscriber:
    """The subscriptions of one connection."""

    def __init__(self, all_: Subscriptions, push: Push) -> None:
        self._all = all_
        self._push = push
        self._tasks: dict[str, asyncio.Task[None]] = {}

    @property
    def tasks(self) -> set[asyncio.Task[None]]:
        """What is under way."""
        return set(self._tasks.values())

    def caller(self, uid: int | None = None) -> "Caller":
        """For one message of the connection, at whose other end this user is."""
        return Caller(self, uid)

    async def open(self, given: Subscribe, has_response: asyncio.Event) -> SubscribedView:
        """Make a subscription that begins when the event is set."""
        self._require_room()
        feed = self._all.feed
        interest = Interest(
            JOURNALED if given.topics is None else frozenset(given.topics), given.run_id, given.event_id
        )
        after = await feed.locate(given.after)
        self._require_room()  # others came while the journal was asked
        name = f"sub_{next(self._all.names)}"
        self._all.open_count += 1
        self._tasks[name] = asyncio.create_task(
            self._follow(name, interest, after, given, has_response), name=f"subscription {name}"
        )
        self._tasks[name].add_done_callback(lambda _: self._forget(name))
        return SubscribedView(name, cursor_text(after))

    async def end(self, name: str) -> UnsubscribedView:
        """End a subscription. No update of it comes after the response.

        Raises:
            SubscriptionNotFoundError: There is none of this name.
        """
        task = self._tasks.get(name)
        if task is None:
            raise SubscriptionNotFoundError(
                f"This connection has no subscription {name[:40]!r}. A subscription ends with its connection.",
                subscription=name,
            )
        task.cancel()
        await asyncio.wait([task])
        return UnsubscribedView(name)

    def cancel(self) -> None:
        """Begin to end them all."""
        for task in self.tasks:
            task.cancel()

    async def close(self) -> None:
        """End them all."""
        tasks = self.tasks
        self.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _forget(self, name: str) -> None:
        del self._tasks[name]
        self._all.open_count -= 1

    def _require_room(self) -> None:
        if len(self._tasks) >= MAX_OF_CONNECTION:
            raise TooManySubscriptionsError(
                f"This connection has {MAX_OF_CONNECTION} subscriptions already. End one first."
            )
        if self._all.open_count >= MAX_SUBSCRIPTIONS:
            raise TooManySubscriptionsError(
                f"The daemon has {MAX_SUBSCRIPTIONS} subscriptions already. Try again later."
            )

    async def _follow(
        self, name: str, interest: Interest, after: int, given: Subscribe, has_response: asyncio.Event
    ) -> None:
        updates = self._all.feed.follow(
            interest,
            after,
            is_resumed=given.after is not None,
            places=[OutputPlace(place.run_id, place.attempt, place.stdout, place.stderr) for place in given.places],
            is_text=given.encoding == "utf-8",
        )
        await has_response.wait()
        try:
            async with aclosing(updates):
                async for update in updates:
                    view = update_view(update, name, self._all.snapshot(), encoding=given.encoding)
                    await self._push(_notification(view))
                    after = update.cursor
        except ConnectionError:
            pass  # the connection's own task sees to the rest
        except Exception as error:  # noqa: BLE001 - its subscriber is told, instead of waiting for ever
            if isinstance(error, CursorExpiredError):
                log.warning("subscriber too slow", extra={"subscription": name})
            await self._tell_end(name, after, error_from(error, method=wire.SUBSCRIBE))

    async def _tell_end(self, name: str, after: int, error: dict[str, Any]) -> None:
        at = json.instant(self._all.feed.now_ms())
        view = UpdateView(cursor_text(after), "ended", at, subscription=name, error=error)
        try:
            await self._push(_notification(view))
        except ConnectionError:
            pass


class Caller:
    """Whoever sent one message, as far as methods need to know.

    Attributes:
        uid: Whose process it is; None where the platform does not tell.
    """

    __slots__ = ("_has_response", "_subscriber", "uid")

    def __init__(self, subscriber: Subscriber, uid: int | None) -> None:
        self._subscriber = subscriber
        self.uid = uid
        self._has_response: asyncio.Event | None = None

    async def subscribe(self, given: Subscribe) -> SubscribedView:
        """See `Subscriber.open`."""
        if self._has_response is None:
            self._has_response = asyncio.Event()
        return await self._subscriber.open(given, self._has_response)

    async def unsubscribe(self, given: Unsubscribe) -> UnsubscribedView:
        """See `Subscriber.end`."""
        return await self._subscriber.end(given.subscription)

    def responded(self) -> None:
        """The response to the message is on its way: its subscriptions may begin."""
        if self._has_response is not None:
            self._has_response.set()


def _notification(view: UpdateView) -> bytes:
    return json.encode({"jsonrpc": "2.0", "method": wire.UPDATE, "params": view})
