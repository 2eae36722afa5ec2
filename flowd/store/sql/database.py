"""What a store asks of its database beside statements: all in which databases differ."""

from typing import Protocol

from flowd.domain.errors import RefusedError
from flowd.store.sql.connection import Connection, ReadConnection, WriteConnection


class Database(Protocol):
    """A database that a store works on."""

    def open_writer(self) -> WriteConnection:
        """The one connection of this process that writes.

        Raises:
            StateError: It cannot be used; it is left as it is.
        """
        ...

    def open_reader(self) -> ReadConnection:
        """A connection that cannot write."""
        ...

    def is_about_storage(self, error: Exception) -> bool:
        """Whether the database or its disk is at fault, and not the statement that was executed."""
        ...

    def may_repeat(self, error: Exception) -> bool:
        """Whether nothing of a transaction was done, and the same can be done at once again."""
        ...

    def translate(self, error: Exception, *, is_reading: bool = False) -> RefusedError:
        """What an error that `is_about_storage` means to a caller. `StorageFailedError` of a write means that nothing
        after it can be trusted; of a read, that this one thing could not be read."""
        ...

    def describe_full(self) -> str:
        """What to do about a full disk."""
        ...

    def free_bytes(self, db: Connection) -> int:
        """How much of what the database takes of its disk is free, for what is stored next; 0 where it does not tell."""
        ...
