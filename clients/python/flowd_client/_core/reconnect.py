"""How long a client waits for a daemon that has gone: it may only be restarting. Pure; the clock is passed in."""

from flowd_client._core.jsonrpc import ClosedError
from flowd_client.errors import ConnectionLostError, DaemonNotRunningError, FlowClientError

RECONNECT_S = 30.0
"""Of those who follow something, by default. A restart takes a second; an upgrade with its package manager more."""

REPEAT_S = 10.0
"""Of a call whose response was lost: long enough for a restart, short enough for one who waits for nothing else."""

HELD_S = 1.0
"""A connection that was lost after so long was of use: the daemon does not hang up at this very request.

One that hangs up sooner is asked again for so long: the kernel goes on taking connections for a process that is dying.
A transport repeats by itself only what was lost sooner; later, a part of what the call waits for is over.
"""

_PAUSE_S = 0.1
_PASSING = frozenset({"shutting_down", "too_many_connections", "too_many_subscriptions", "storage_busy"})
_GATEWAY_STATUSES = frozenset({502, 503, 504})
"""What a proxy says while the daemon behind it restarts."""


class ReconnectPolicy:
    """Tells whether a failure may pass, once the daemon was there, and how long to wait before trying again."""

    def __init__(self, limit_s: float, method: str) -> None:
        self._limit_s = limit_s
        self._method = method
        self._was_there = False
        self._was_of_use = False
        self._since_s: float | None = None

    def succeeded(self) -> None:
        """The daemon is there."""
        self._was_there = self._was_of_use = True
        self._since_s = None

    def pause_s(self, error: FlowClientError, begun_s: float, now_s: float, *, left_s: float | None = None) -> float:
        """How long to wait before trying again.

        Args:
            begun_s: When what failed was begun.
            left_s: How much time it had then; None for any.

        Raises:
            FlowClientError: The error itself, when it is none that passes or the daemon was never there.
            ConnectionLostError: The time is up.
        """
        is_lost = isinstance(error, ConnectionLostError)
        is_gateways = error.data.get("httpStatus") in _GATEWAY_STATUSES
        is_gone = isinstance(error.__cause__ if is_lost else error, DaemonNotRunningError)
        has_held = (is_lost or is_gateways) and now_s - begun_s >= HELD_S
        if has_held or (is_lost and is_gone):
            self._was_of_use = True
        self._was_there = self._was_there or self._was_of_use or is_lost
        may_pass = is_lost or is_gone or is_gateways or error.slug in _PASSING
        if not may_pass or not self._was_there or isinstance(error.__cause__, ClosedError):
            raise error
        if self._since_s is None or has_held:
            self._since_s = now_s
        limit_s = self._limit_s if self._was_of_use else min(HELD_S, self._limit_s)
        is_late = left_s is not None and begun_s + left_s <= now_s + _PAUSE_S
        if not is_late and now_s - self._since_s < limit_s:
            return _PAUSE_S
        if is_lost:
            raise error
        raise ConnectionLostError(self._method, error) from error
