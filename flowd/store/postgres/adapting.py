"""How values of Python go into statements, and come back: as `sqlite3` takes them and gives them."""

from typing import Any

import psycopg
from psycopg import postgres
from psycopg.abc import Buffer
from psycopg.adapt import AdaptersMap, Dumper, Loader
from psycopg.types.numeric import Int8Dumper
from psycopg.types.string import StrDumperUnknown, TextLoader

NUL = "\u2400"
"""What stands in texts for the one character that PostgreSQL keeps in none: the picture of it."""


class _Text(StrDumperUnknown):
    def dump(self, obj: str) -> Buffer | None:
        return super().dump(obj.replace("\0", NUL) if "\0" in obj else obj)


class _Truth(Dumper):
    """A number, as it is in SQLite."""

    oid = postgres.types["int8"].oid

    def dump(self, obj: bool) -> Buffer | None:
        return b"1" if obj else b"0"


class _Real(Dumper):
    """As it is written, so that 1.0 stays what it is."""

    oid = postgres.types["numeric"].oid

    def dump(self, obj: float) -> Buffer | None:
        return repr(obj).encode()


class _Number(Loader):
    def load(self, data: Buffer) -> int | float:
        text = bytes(data)
        return float(text) if b"." in text else int(text)


def _adapters() -> AdaptersMap:
    adapters = AdaptersMap(psycopg.adapters)
    adapters.register_dumper(int, Int8Dumper)  # always the same type, so that a statement is prepared once
    adapters.register_dumper(bool, _Truth)
    adapters.register_dumper(float, _Real)
    adapters.register_dumper(str, _Text)
    adapters.register_loader("numeric", _Number)
    adapters.register_loader("json", TextLoader)
    return adapters


ADAPTERS: Any = _adapters()
"""For the ``context`` of a connection."""
