"""What every part of `SqlStore` asks and writes with."""

from collections.abc import Callable
from typing import TypeVar

from flowd.store.sql.connection import Connection
from flowd.store.sql.readers import Readers
from flowd.store.sql.writer import Writer

T = TypeVar("T")


class StorePart:
    """One subject of the store's port. `SqlStore` makes the writer and the readers."""

    _writer: Writer
    _readers: Readers

    async def _read(self, question: Callable[[Connection], T]) -> T:
        return await self._readers.ask(question)
