"""A connection as the statements that all databases share see it: what `Connection` offers of itself."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

from flowd.domain.concurrency import KeyLimits
from flowd.domain.errors import FlowdError
from flowd.domain.notices import NotifyRule
from flowd.domain.queueing import Caused


class Cursor(Protocol):
    """What a statement came to."""

    @property
    def rowcount(self) -> int:
        """How many rows it has changed."""
        ...

    def fetchone(self) -> Any:
        """The next row; None where there is none."""
        ...

    def fetchall(self) -> list[Any]:
        """All rows that are left."""
        ...

    def __iter__(self) -> Iterator[Any]:
        """The rows that are left."""
        ...

    def close(self) -> object:
        """Ask for no more of them."""
        ...


class Connection(Protocol):
    """Executes statements, whose values stand for question marks."""

    def execute(self, sql: str, parameters: Sequence[Any] = ..., /) -> Cursor:
        """Execute a statement."""
        ...

    def write(self, sql: str, parameters: Sequence[Any] = ..., /) -> object:
        """Execute a statement that changes something, and whose result nobody wants: now, or before the next one."""
        ...

    def executemany(self, sql: str, parameters: Iterable[Sequence[Any]], /) -> object:
        """Execute a statement once for each of these values."""
        ...


class ReadConnection(Connection, Protocol):
    """A connection with transactions."""

    def begin(self) -> None:
        """Begin a transaction: beside one that writes nobody else does, and one that reads sees one snapshot."""
        ...

    def roll_back(self) -> None:
        """Undo what the transaction has done, and end it."""
        ...

    def close(self) -> None:
        """Let go of the database."""
        ...


class UndoneError(Exception):
    """Raised by an operation that has written already: undo that, and refuse it. Others of its batch are done anew.

    Attributes:
        refusal: What its caller is told.
    """

    def __init__(self, refusal: FlowdError) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


class WriteNotes:
    """What a connection that writes knows of its transaction. A base of every such connection.

    Attributes:
        also_ended: The ``seq`` of runs that ended in this transaction unstarted, as a consequence of what was asked.
        to_end: The same of running runs whose end was asked for.
        is_any_ready: Runs that waited may start now, and no claim has looked at them.
        caused: What became of events that results cause.
        told: Rows of the journal that are written before the commit.
        may_be_paused: People may have paused something; else nobody has to look for that.
        key_limits: What the packages in force declare.
        notify: Who is told of how runs end. With none, nothing is written for that.
        has_notices: Somebody is to be told of something, by a notice that is in the outbox now.
        due_ms: When the next of the runs that have begun to wait for their time has waited long enough, by this host's
            steady clock.
        host_steady_ms: That clock; None where nobody has given the store one.
        ahead_ms: See `flowd.store.sql.clocks.ahead_ms`.
        was_set_back: So was the database's clock, and waits are longer than they should be.
    """

    def __init__(self) -> None:
        """Nothing is known yet."""
        self.also_ended: list[int] = []
        self.to_end: list[int] = []
        self.is_any_ready = False
        self.caused: list[Caused] = []
        self.told: list[Sequence[object]] = []
        self.may_be_paused = True
        self.key_limits: KeyLimits = {}
        self.notify: Sequence[NotifyRule] = ()
        self.has_notices = False
        self.due_ms: int | None = None
        self.host_steady_ms: Callable[[], int] | None = None
        self.ahead_ms: int | None = None
        self.was_set_back = False

    def forget(self) -> None:
        """Another transaction begins."""
        self.also_ended.clear()
        self.to_end.clear()
        self.is_any_ready = False
        self.caused.clear()
        self.told.clear()
        self.has_notices = False
        self.due_ms = None


class WriteConnection(ReadConnection, Protocol):
    """The connection that writes, which is `WriteNotes`, too."""

    also_ended: list[int]
    to_end: list[int]
    is_any_ready: bool
    caused: list[Caused]
    may_be_paused: bool
    key_limits: KeyLimits
    notify: Sequence[NotifyRule]
    has_notices: bool
    due_ms: int | None
    host_steady_ms: Callable[[], int] | None

    def forget(self) -> None:
        """See `WriteNotes.forget`."""
        ...

    @property
    def total_changes(self) -> int:
        """Rows that it has changed since it was opened, about."""
        ...

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is under way."""
        ...

    def commit(self) -> None:
        """Make durable what the transaction has done."""
        ...
