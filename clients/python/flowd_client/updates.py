"""Updates as a blocking iterator, over restarts of the daemon."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from importlib import import_module
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from flowd_client import wire
from flowd_client.errors import ConnectionLostError, FlowClientError
from flowd_client.patience import Patience
from flowd_client.subscription import Subscription

if TYPE_CHECKING:
    from flowd_client.views.update import UpdateView


class UpdateStream(Protocol):
    """A connection of its own on which a daemon pushes updates.

    Attributes:
        answer: What it answered to the subscription.
    """

    answer: Any

    def next(self) -> Mapping[str, Any]:
        """The next update as it came. Raises `ConnectionLostError` at the connection's end."""
        ...

    def close(self) -> None:
        """Let go of the connection; a `next` under way in another thread raises `ConnectionLostError`."""
        ...


class Updates:
    """What happens, from the moment that this was made (or from ``after`` on), without end.

    Goes on after a restart of the daemon: nothing is missed and nothing comes twice. An iterator and a context manager;
    leaving it, or `close` from any thread, ends it.

    Raises:
        ConnectionLostError: The daemon did not come back in time.
        CursorExpiredError: What comes next is kept no more.
    """

    def __init__(
        self, connect: Callable[[Mapping[str, Any]], UpdateStream], subscription: Subscription, *, reconnect_s: float
    ) -> None:
        """Subscribe now. Raises the `FlowClientError` tree."""
        self._connect = connect
        self._subscription = subscription
        self._patience = Patience(reconnect_s, wire.SUBSCRIBE)
        self._is_closed = False
        self._stream: UpdateStream | None = self._open()

    @property
    def cursor(self) -> str | None:
        """Of the last update: pass it as ``after`` to go on from here another time."""
        return self._subscription.cursor

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> UpdateView:
        while not self._is_over():
            try:
                if self._stream is None:
                    self._stream = self._open()
                update = self._stream.next()
            except FlowClientError as error:
                self._let_go()
                if self._is_over() and isinstance(error, ConnectionLostError):
                    break
                time.sleep(self._patience.pause_s(error, time.monotonic()))
                continue
            if self._subscription.take(update):
                view: UpdateView = import_module("flowd_client.views.update").read_update(update)
                return view
        raise StopIteration

    def close(self) -> None:
        """End it. May be called twice."""
        self._is_closed = True
        self._let_go()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _is_over(self) -> bool:
        """Asked anew after every wait, because another thread may have closed it."""
        return self._is_closed

    def _open(self) -> UpdateStream:
        stream = self._connect(self._subscription.params)
        self._patience.answered()
        self._subscription.take_answer(stream.answer)
        return stream

    def _let_go(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()
