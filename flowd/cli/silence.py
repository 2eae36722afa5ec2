"""Says on stderr that the daemon does not answer, while a command waits for it."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from flowd.cli.exits import tell
from flowd_client.errors import stopped
from flowd_client.unix import UnixTransport, stopped_pid

_SILENCE_S = 2.0
"""A daemon that can answers within milliseconds."""


class TellingTransport(UnixTransport):
    """A transport to the daemon that tells of its silence, once a call."""

    def call(self, method: str, params: Mapping[str, Any], *, timeout_s: float | None) -> Any:
        """See `UnixTransport.call`."""
        waits = any(params.get(name) for name in ("wait", "waitMs", "timeoutMs")) or timeout_s is None
        with self._telling(is_quiet=waits):
            return super().call(method, params, timeout_s=timeout_s)

    def stream(self, method: str, params: Mapping[str, Any], *, timeout_s: float | None) -> Any:
        """See `UnixTransport.stream`."""
        with self._telling(is_quiet=False):
            return super().stream(method, params, timeout_s=timeout_s)

    @contextlib.contextmanager
    def _telling(self, *, is_quiet: bool) -> Iterator[None]:
        """``is_quiet``: silence is what was asked for, unless the daemon is stopped."""

        def look() -> None:
            if (pid := stopped_pid(self._locate())) is not None:
                tell(f"The daemon does not answer. {stopped(pid)} Waiting for it.")
            elif not is_quiet:
                tell(f"The daemon has not answered for {_SILENCE_S:g} s. Waiting for it.")

        with _called_after(_SILENCE_S, look):
            yield


@contextlib.contextmanager
def _called_after(delay_s: float, tell_it: Callable[[], None]) -> Iterator[None]:
    """Call this if the block takes longer.

    The main thread, which is that of nearly all commands, is interrupted for it: to start a thread takes longer than
    most answers, and the process would have to wait for its end.
    """
    if threading.current_thread() is not threading.main_thread():
        teller = threading.Timer(delay_s, tell_it)
        teller.daemon = True
        teller.start()
        try:
            yield
        finally:
            teller.cancel()
        return
    before = signal.signal(signal.SIGALRM, lambda *_: tell_it())
    timer = signal.setitimer(signal.ITIMER_REAL, delay_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, *timer)
        signal.signal(signal.SIGALRM, before)
