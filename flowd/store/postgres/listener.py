"""Hears in a thread what other hosts have committed: each commit is told where it was made."""

import asyncio
import logging
import select
import socket
import threading
from collections.abc import Callable

import psycopg

from flowd.store.postgres.address import Address
from flowd.store.postgres.connection import channel

log = logging.getLogger("flowd.store")

_AGAIN_AFTER_S = 0.5


class Listener:
    """A connection that listens, made anew whenever it is lost."""

    def __init__(self, address: Address, *, own_pid: Callable[[], int], on_news: Callable[[], None]) -> None:
        """Start to listen; must be called in a running loop.

        Args:
            own_pid: The server's process behind our own writes, which are no news.
            on_news: Called in the loop when there is news, and whenever some may have been missed.
        """
        self._address = address
        self._own_pid = own_pid
        self._on_news = on_news
        self._loop = asyncio.get_running_loop()
        self._is_closing = threading.Event()
        self._woken, self._wake = socket.socketpair()
        self._thread = threading.Thread(target=self._work, name="flowd-listener", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Listen no more."""
        self._is_closing.set()
        self._wake.close()
        self._thread.join()
        self._woken.close()

    def _work(self) -> None:
        while not self._is_closing.is_set():
            try:
                self._listen()
            except psycopg.Error:
                self._is_closing.wait(_AGAIN_AFTER_S)  # who writes tells of it
            except Exception:
                log.exception("no news of other hosts")
                self._is_closing.wait(_AGAIN_AFTER_S)

    def _listen(self) -> None:
        with psycopg.connect(**self._address.parameters, autocommit=True) as raw:
            raw.execute(f"LISTEN {channel(self._address.schema)}")
            poll = select.poll()
            poll.register(raw, select.POLLIN)
            poll.register(self._woken, select.POLLIN)
            self._tell()  # of what was committed before
            while not self._is_closing.is_set():
                poll.poll()
                pids = {notice.pid for notice in raw.notifies(timeout=0)}
                if pids - {self._own_pid()}:
                    self._tell()

    def _tell(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._on_news)
        except RuntimeError:  # the loop is closed
            self._is_closing.set()
