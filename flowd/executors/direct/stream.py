"""The stream of frames to a keeper inside the event loop: writes of one turn are sent together."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from flowd.executors.direct.launcher import Link
from flowd.keeper.protocol import FrameError

_READ_BYTES = 1 << 18
_DRAIN_WITHIN_S = 1.0


class KeeperStream:
    """Reads and writes one `Link` until it ends."""

    def __init__(
        self,
        link: Link,
        *,
        on_frames: Callable[[list[tuple[dict[str, Any], bytes]]], None],
        on_gone: Callable[[], None],
    ) -> None:
        """Read from now on.

        Args:
            on_frames: Called with the frames of one read.
            on_gone: Called once when the keeper has hung up; not after `close`.
        """
        self._link = link
        self._socket = link.socket
        self._reader = link.reader
        self._on_frames = on_frames
        self._on_gone = on_gone
        self._unsent = bytearray()
        self._is_flushing = self._is_blocked = False
        self._is_open = True
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket, self._read)

    def send(self, data: bytes) -> None:
        """Send soon, together with whatever else comes up in this turn of the loop."""
        self._unsent += data
        if not self._is_flushing:
            self._is_flushing = True
            self._loop.call_soon(self._flush)

    def close(self) -> None:
        """Close it. What was not sent is dropped."""
        if self._is_open:
            self._is_open = False
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
            self._socket.close()

    async def drain(self) -> None:
        """Send what there is, as far as the keeper takes it in a second."""
        deadline = time.monotonic() + _DRAIN_WITHIN_S
        while self._unsent and self._is_open and time.monotonic() < deadline:
            self._flush()
            await asyncio.sleep(0.005 if self._unsent else 0)

    def _flush(self) -> None:
        self._is_flushing = False
        if not self._is_open:
            return
        try:
            while self._unsent:
                del self._unsent[: self._socket.send(self._unsent)]
        except (BlockingIOError, InterruptedError):
            self._is_flushing = self._is_blocked = True
            self._loop.add_writer(self._socket, self._flush)
            return
        except OSError:
            self._unsent.clear()  # the reading side learns that it is closed
        if self._is_blocked:
            self._is_blocked = False
            self._loop.remove_writer(self._socket)

    def _read(self) -> None:
        try:
            data = self._socket.recv(_READ_BYTES)
            frames = self._reader.feed(data)
        except (BlockingIOError, InterruptedError):
            return
        except (OSError, FrameError):
            data, frames = b"", []
        if frames:
            self._on_frames(frames)
        if not data and self._is_open:
            self.close()
            self._on_gone()
