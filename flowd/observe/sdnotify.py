"""Tells systemd that the daemon is ready, alive or stopping: sd_notify(3), fed from the event loop itself.

Thirty lines of protocol instead of a library: the ones there are have not been released for years, or need libsystemd.
"""

import asyncio
import os
import socket
import time
from collections.abc import Callable, Mapping

STATUS_INTERVAL_S = 2.0
"""How often the status line may change; systemd puts each into the journal's view of the unit."""
_EXTEND_S = 30.0
"""Each sign of life while we drain buys this much of the manager's patience."""


class Notifier:
    """The connection to the service manager. Without one, every method does nothing.

    Sending never raises and never blocks: a service manager that does not listen is no reason to stop working.
    """

    def __init__(self, address: str | None, *, watchdog_s: float | None = None) -> None:
        """``watchdog_s`` is how long the manager waits for a sign of life before it kills us."""
        self._address = f"\0{address[1:]}" if address and address.startswith("@") else address
        self._watchdog_s = watchdog_s
        self._status = ""

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> "Notifier":
        """Read the manager's variables. A watchdog that is meant for another process is left alone."""
        try:
            watchdog_s = int(environ.get("WATCHDOG_USEC", "")) / 1e6
        except ValueError:
            watchdog_s = 0.0
        is_meant = environ.get("WATCHDOG_PID") in (None, "", str(os.getpid()))
        return cls(environ.get("NOTIFY_SOCKET"), watchdog_s=watchdog_s if watchdog_s > 0 and is_meant else None)

    @property
    def is_connected(self) -> bool:
        """Whether a manager listens."""
        return self._address is not None

    @property
    def watchdog_s(self) -> float | None:
        """How long the watchdog waits for a sign of life; None where there is no watchdog."""
        return self._watchdog_s

    def ready(self, status: str) -> None:
        """Say that the daemon serves, so that units which wait for it may start. Also ends a reload."""
        self._status = status
        self.send(READY="1", MAINPID=str(os.getpid()), STATUS=status)

    def reloading(self) -> None:
        """Say that a reload has begun; `ready` ends it. The time marks this reload (systemd 253)."""
        self.send(RELOADING="1", MONOTONIC_USEC=str(time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000))

    def stopping(self, status: str) -> None:
        """Say that the daemon stops. `extend` asks for more time."""
        self._status = status
        self.send(STOPPING="1", STATUS=status, EXTEND_TIMEOUT_USEC=_usec(_EXTEND_S))

    def extend(self, status: str) -> None:
        """Ask for more time to stop."""
        self.send(STATUS=status, EXTEND_TIMEOUT_USEC=_usec(_EXTEND_S))

    def status(self, status: str) -> None:
        """Set the line that ``systemctl status`` shows. Sent only when it has changed."""
        if status != self._status:
            self._status = status
            self.send(STATUS=status)

    async def beat(self, status: Callable[[], str]) -> None:
        """Feed the watchdog and keep the status fresh, for ever.

        It runs as a task of the loop that dispatches: where the loop is stuck, the watchdog starves, and the manager
        starts us anew. Its interval is half the watchdog's, as sd_watchdog_enabled(3) asks.
        """
        if not self.is_connected:
            return
        interval_s = min(STATUS_INTERVAL_S, (self._watchdog_s or STATUS_INTERVAL_S * 2) / 2)
        while True:
            if self._watchdog_s is not None:
                self.send(WATCHDOG="1")
            self.status(status())
            await asyncio.sleep(interval_s)

    def send(self, **fields: str) -> None:
        """One datagram with these assignments; a newline in a value would begin another, so there are none."""
        if self._address is None:
            return
        lines = "\n".join(f"{name}={value.replace(chr(10), ' ')}" for name, value in fields.items())
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | getattr(socket, "SOCK_CLOEXEC", 0)) as connection:
            connection.setblocking(False)  # noqa: FBT003
            try:
                connection.sendto(lines.encode("utf-8", "replace"), self._address)
            except OSError:
                pass


def _usec(seconds: float) -> str:
    return str(round(seconds * 1e6))
