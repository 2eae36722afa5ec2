"""Chooses the store: the one in the state folder, or the shared one that the settings name."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import flowd
from flowd.domain.errors import NotYetError, StateError, StorageBusyError, StorageFailedError, StorageFullError
from flowd.domain.hosts import HostSession
from flowd.ports import Clock, OpenStore
from flowd.settings.values import Settings
from flowd.state import folder as state_folder
from flowd.state import host_id
from flowd.store.sql.database import Database
from flowd.store.sqlite.room import RESERVE_BYTES
from flowd.store.sqlite.store import SqliteDatabase, SqliteStore
from flowd.wiring.sharing import Shared

if TYPE_CHECKING:
    from flowd.store.postgres.address import Address
    from flowd.store.sql.connection import Connection


async def open_store(
    settings: Settings, *, clock: Clock, on_failure: Callable[[StorageFailedError], None], is_private: bool
) -> tuple[OpenStore, Shared | None]:
    """Open the store of a workspace.

    Args:
        is_private: It serves one process for a while, and is in the state folder whatever the settings say.

    Returns:
        The store; and the same as hosts share it, where they do.

    Raises:
        StateError: It cannot be used.
    """
    if settings.store is not None and not is_private:
        return await _open_shared(settings, clock, on_failure)
    store = SqliteStore(
        settings.state_dir / state_folder.DATABASE,
        max_queued=settings.max_queued,
        max_waiting=settings.max_waiting,
        max_tree_events=settings.max_tree_events,
        on_failure=on_failure,
        reserve_bytes=0 if is_private else RESERVE_BYTES,
        clock=clock,
    )
    return store, None


def open_database(settings: Settings) -> Database:
    """The database below the store of a workspace, for who writes into it beside any daemon of ours.

    Raises:
        StateError: It cannot be used.
    """
    if settings.store is None:
        return SqliteDatabase(settings.state_dir / state_folder.DATABASE)
    address = shared_address(settings)
    from flowd.store.postgres.store import PostgresDatabase  # noqa: PLC0415 - an extra, which few have

    return PostgresDatabase(address)


def shared_address(settings: Settings) -> "Address":
    """Of the database that hosts share.

    Raises:
        StateError: The settings name none, or what connects to one is not installed.
    """
    where = settings.store
    if where is None:
        raise StateError(
            "The settings name no shared store: set FLOWD_STORE=postgresql://USER@HOST/DATABASE, or store in flowd.toml"
        )
    try:
        from flowd.store.postgres.address import Address  # noqa: PLC0415 - an extra, which few have
    except ImportError as error:
        raise StateError(
            f"The store is a PostgreSQL database, and what connects to one is not installed ({error}). Install flowd "
            "with it, in a clone of its repository: pip install '.[postgres]'"
        ) from error
    return Address(where.url, where.shown, where.schema)


@contextmanager
def reading_shared(settings: Settings) -> "Iterator[Connection | None]":
    """The database that hosts share, to read from in one snapshot; None where it cannot be reached or used."""
    try:
        address = shared_address(settings)
        from flowd.store.postgres.store import PostgresDatabase  # noqa: PLC0415 - an extra, which few have

        database = PostgresDatabase(address)
        database.open_writer().close()  # which says whether this flowd can use it
        connection = database.open_reader()
    except StateError:
        yield None
        return
    with closing(connection):
        connection.begin()
        yield connection


async def _open_shared(
    settings: Settings, clock: Clock, on_failure: Callable[[StorageFailedError], None]
) -> tuple[OpenStore, Shared]:
    address = shared_address(settings)
    from flowd.store.postgres.shared import SharedStore  # noqa: PLC0415 - an extra, which few have

    host = HostSession(
        name=settings.host,
        host_id=host_id.here(settings.state_dir),
        session=secrets.token_hex(16),
        version=flowd.__version__,
        labels=settings.labels,
    )
    store = SharedStore(
        address,
        host=host,
        max_queued=settings.max_queued,
        max_waiting=settings.max_waiting,
        max_tree_events=settings.max_tree_events,
        on_failure=on_failure,
        clock=clock,
    )
    try:
        is_held = await store.register()
    except BaseException as error:
        await store.close()
        if isinstance(error, StorageBusyError | StorageFullError):  # another start may find it well
            raise NotYetError(error.message) from error
        raise

    def replaced() -> None:
        on_failure(
            StorageFailedError(
                f"The store knows this daemon no more: another has the name of host {host.name}, or it was forgotten."
            )
        )

    return store, Shared(store, host, replaced, is_held)
