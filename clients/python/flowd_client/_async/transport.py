"""The seam under the client: what carries its calls."""

from collections.abc import Mapping
from typing import Any, Protocol


class AsyncUpdateStream(Protocol):
    """A connection of its own on which a daemon pushes updates.

    Attributes:
        answer: What it answered to the subscription.
    """

    answer: Any

    async def next(self) -> Mapping[str, Any]:
        """The next update as it came. Cancelling it loses nothing.

        Raises:
            ConnectionLostError: The connection has ended.
        """
        ...

    def close(self) -> None:
        """Let go of the connection; a `next` under way elsewhere raises `ConnectionLostError`."""
        ...


class AsyncTransport(Protocol):
    """Carries calls to a daemon. One client belongs to one event loop; cancelling a call does not undo it."""

    # async only

    async def call(self, method: str, params: Mapping[str, Any], *, timeout_s: float | None) -> Any:
        """Send one call and give its result.

        A call of `flowd_client.wire.RETRY_SAFE` is sent again, once, when the connection was lost; any other only if
        it provably never arrived. Where nobody can be reached to send it to again, the first loss is what is told.

        Args:
            timeout_s: For everything, connecting included; None waits without limit.

        Raises:
            FlowClientError: Any of its tree.
        """
        ...

    async def close(self) -> None:
        """Let go of every connection. May be called twice; a later call connects anew."""
        ...
