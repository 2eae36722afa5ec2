"""How long a reader waits for a daemon that has gone: it may only be restarting. Pure; the clock is passed in."""

from flowd_client.errors import ConnectionLostError, DaemonNotRunningError, FlowClientError

RECONNECT_S = 30.0
"""By default. A restart takes a second; an upgrade with its package manager rather more."""

_PAUSE_S = 0.1
_PASSING = frozenset({"shutting_down", "too_many_connections", "too_many_subscriptions", "storage_busy"})


class ReconnectPolicy:
    """Tells whether a failure may pass, once there was a success, and for how long to wait before trying again."""

    def __init__(self, limit_s: float, method: str) -> None:
        self._limit_s = limit_s
        self._method = method
        self._has_succeeded = False
        self._since_s: float | None = None

    def succeeded(self) -> None:
        """The daemon is there."""
        self._has_succeeded = True
        self._since_s = None

    def pause_s(self, error: FlowClientError, now_s: float) -> float:
        """How long to wait before trying again.

        Raises:
            FlowClientError: The error itself, when it is none that passes or the daemon was never there.
            ConnectionLostError: The time is up.
        """
        is_passing = isinstance(error, ConnectionLostError | DaemonNotRunningError) or error.slug in _PASSING
        if not is_passing or not self._has_succeeded:
            raise error
        if self._since_s is None:
            self._since_s = now_s
        if now_s - self._since_s >= self._limit_s:
            if isinstance(error, ConnectionLostError):
                raise error
            raise ConnectionLostError(self._method, error) from error
        return _PAUSE_S
