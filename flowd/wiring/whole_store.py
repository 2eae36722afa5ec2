"""Opens all of a store for who copies it: to read it in one snapshot, or to fill it in one transaction."""

import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

from flowd.settings.values import Settings
from flowd.store.sql.bulk import Bulk
from flowd.store.sqlite import connection
from flowd.store.sqlite.bulk import SqliteBulk
from flowd.wiring.store import shared_address


@contextmanager
def reading_file(path: Path) -> Iterator[Bulk]:
    """A store in a file, as it is now, whatever is written meanwhile.

    Raises:
        RefusedError: It cannot be read.
    """
    try:
        with closing(connection.open_reader(path)) as db:
            db.begin()
            db.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone()  # only that takes the snapshot
            yield SqliteBulk(db)
    except sqlite3.Error as error:
        raise connection.translate(error, is_reading=True) from error


def reading_shared(settings: Settings) -> AbstractContextManager[Bulk]:
    """The store that hosts share, as it is now, whatever is written meanwhile.

    Raises:
        StateError: It cannot be used.
        RefusedError: It went away.
    """
    address = shared_address(settings)
    from flowd.store.postgres import bulk  # noqa: PLC0415 - an extra, which few have

    return bulk.reading(address)


def filling_shared(settings: Settings, *, is_dry: bool = False) -> AbstractContextManager[Bulk]:
    """The store that hosts share, in one transaction beside which nobody else writes. It is committed at the end, or
    undone where anything failed, or the run is a dry one.

    Raises:
        StateError: It cannot be used.
        RefusedError: It went away, or refused something. Nothing was stored.
    """
    address = shared_address(settings)
    from flowd.store.postgres import bulk  # noqa: PLC0415 - an extra, which few have

    return bulk.filling(address, is_dry=is_dry)
