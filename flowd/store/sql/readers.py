"""The threads that read a database."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from flowd.domain.errors import StorageFailedError
from flowd.store.sql.connection import Connection, ReadConnection
from flowd.store.sql.database import Database

log = logging.getLogger("flowd.store")

T = TypeVar("T")
_READERS = 2

_TELL_EVERY_S = 10.0
"""Followers ask again and again."""


class Readers:
    """A few threads, each with a connection of its own."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._threads = ThreadPoolExecutor(_READERS, thread_name_prefix="flowd-reader")
        self._local = threading.local()
        self._connections: list[ReadConnection] = []
        self._tell_failed_read_at_s = 0.0

    async def close(self) -> None:
        """Finish the questions under way and close the connections."""
        await asyncio.to_thread(self._threads.shutdown)
        for connection in self._connections:
            connection.close()

    async def ask(self, question: Callable[[Connection], T]) -> T:
        """The answer to a question, from one snapshot.

        Raises:
            StorageBusyError, StorageFailedError: The database cannot be read.
        """
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._ask, question)

    def _ask(self, question: Callable[[Connection], T], *, is_again: bool = False) -> T:
        try:
            return self._ask_once(question)
        except Exception as error:
            if not self._database.is_about_storage(error):
                raise
            if self._database.may_repeat(error) and not is_again:
                self._drop_reader()
                return self._ask(question, is_again=True)
            self._drop_reader()
            refusal = self._database.translate(error, is_reading=True)
            if isinstance(refusal, StorageFailedError) and time.monotonic() >= self._tell_failed_read_at_s:
                self._tell_failed_read_at_s = time.monotonic() + _TELL_EVERY_S
                log.error("read failed", extra={"problem": str(error)})
            raise refusal from error

    def _ask_once(self, question: Callable[[Connection], T]) -> T:
        connection: ReadConnection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self._database.open_reader()
            self._connections.append(connection)
        # One snapshot for all the statements of a question.
        connection.begin()
        try:
            return question(connection)
        finally:
            connection.roll_back()

    def _drop_reader(self) -> None:
        """Close this thread's connection: a statement that failed halfway would hold its old snapshot open."""
        connection: ReadConnection | None = getattr(self._local, "connection", None)
        if connection is not None:
            self._local.connection = None
            self._connections.remove(connection)
            connection.close()
