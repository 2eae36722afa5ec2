"""Accepts connections, a few at a time, and goes on when there are no descriptors left."""

import asyncio
import errno
import logging
import os
import resource
import socket
import time
from collections.abc import Callable
from contextlib import suppress

log = logging.getLogger("flowd.api")

_AT_ONCE = 16
_AT_ONCE_WHERE_FEW = 2
_FEW_FILES = 256
"""In one turn of the loop: a burst of callers leaves those who are there already their turns, and their files."""

_SETTLE_S = 0.02
"""By then a caller on this machine has sent its request."""

_RESERVED_FILES = 256
_QUIET_S = 60.0

_NO_ROOM = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


def affordable(share: float) -> int:
    """How many connections one listener may hold: its share of the descriptors that the database, the keeper and
    running steps leave. A full table would stop those, too."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return 1_000_000
    return max(8, int((soft - min(_RESERVED_FILES, soft * 5 // 8)) * share))


class Acceptor:
    """Makes connections of the callers of a listening socket.

    What asyncio's own server does when the table of descriptors is full is to log it once for each caller that could
    wait, every second. This one lets a descriptor go that it has kept for that, accepts with it, and hangs up.
    """

    def __init__(self, listener: socket.socket, protocol: Callable[[], asyncio.BaseProtocol], *, backlog: int) -> None:
        self._listener = listener
        self._protocol = protocol
        self._backlog = backlog
        self._coming: set[asyncio.Task[object]] = set()
        self._spare = -1
        self._told_s = -_QUIET_S
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._at_once = _AT_ONCE_WHERE_FEW if 0 <= soft < _FEW_FILES else _AT_ONCE

    def open(self) -> None:
        """Begin."""
        self._listener.setblocking(False)  # noqa: FBT003
        self._listener.listen(self._backlog)
        self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        asyncio.get_running_loop().add_reader(self._listener.fileno(), self._accept)

    async def close(self) -> None:
        """Take no more callers, let those taken until now become connections, then close the socket.

        Who comes later waits for the next daemon where systemd holds the socket.
        """
        asyncio.get_running_loop().remove_reader(self._listener.fileno())
        await asyncio.sleep(_SETTLE_S)
        if self._coming:
            await asyncio.wait(self._coming)
        self._listener.close()
        self._let_go_of_spare()

    def listen_anew(self, bound: socket.socket) -> None:
        """Accept on this socket from now on, in the place of one whose path is gone. It gets the old one's number, so
        that whoever closes that closes this one."""
        number, loop = self._listener.fileno(), asyncio.get_running_loop()
        loop.remove_reader(number)
        os.dup2(bound.fileno(), number, inheritable=False)
        bound.close()
        self._listener.setblocking(False)  # noqa: FBT003
        loop.add_reader(number, self._accept)

    def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(self._at_once):
            try:
                caller, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _NO_ROOM:
                    raise
                if not self._hang_up(error):
                    return
                continue
            caller.setblocking(False)  # noqa: FBT003
            coming = loop.create_task(loop.connect_accepted_socket(self._protocol, caller))
            self._coming.add(coming)
            coming.add_done_callback(self._arrived)

    def _arrived(self, coming: "asyncio.Task[object]") -> None:
        self._coming.discard(coming)
        if not coming.cancelled() and coming.exception() is not None:
            log.debug("a caller was lost", extra={"error": str(coming.exception())})

    def _hang_up(self, error: OSError) -> bool:
        """Get rid of a caller for whom there is no descriptor; False if even that did not work."""
        if time.monotonic() - self._told_s >= _QUIET_S:
            self._told_s = time.monotonic()
            log.error(
                "callers are hung up on",
                extra={"problem": f"{error.strerror}. Raise the limit of open files (ulimit -n, LimitNOFILE=)."},
            )
        self._let_go_of_spare()
        was_there = False
        with suppress(OSError):
            caller, _ = self._listener.accept()
            caller.close()
            was_there = True
        with suppress(OSError):
            self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        return was_there

    def _let_go_of_spare(self) -> None:
        if self._spare >= 0:
            os.close(self._spare)
            self._spare = -1
