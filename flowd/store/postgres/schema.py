"""The schema: which one there is, and which one there should be. `owning` makes and changes it.

A flowd can work with a schema that is newer than what it knows as long as ``min_reader`` says so: hosts are upgraded one
after another, the schema first.
"""

import re
from importlib.resources import files
from typing import Any, NamedTuple

import psycopg

from flowd.domain.errors import NotYetError, StateError
from flowd.store.postgres.address import Address

_MIGRATION = re.compile(r"(\d{4})_\w+\.sql")
MIN_READER = re.compile(r"^-- min_reader: (\d+)$", re.MULTILINE)
MIN_SERVER = 150_000


class Version(NamedTuple):
    """Of a schema that is there.

    Attributes:
        min_reader: What a flowd must know at least to work with it.
        changed_by: The flowd that brought it there.
    """

    version: int
    min_reader: int
    changed_by: str


def migrations() -> list[str]:
    """The scripts in order; script n brings the schema from n-1 to n. Their texts never change once they are out."""
    folder = files("flowd.store.postgres") / "migrations"
    scripts = sorted(
        (entry for entry in folder.iterdir() if _MIGRATION.fullmatch(entry.name)), key=lambda entry: entry.name
    )
    return [script.read_text(encoding="utf-8") for script in scripts]


def known() -> int:
    """The version of the schema that this flowd brings a database to."""
    return len(migrations())


def found(raw: "psycopg.Connection[Any]", schema: str) -> Version | None:
    """The schema that is there; None where there is none."""
    if _one(raw, f"SELECT to_regclass('{schema}.schema_version')::text")[0] is None:
        return None
    return Version(*_one(raw, f"SELECT version, min_reader, changed_by FROM {schema}.schema_version"))


def refuse_unusable(raw: "psycopg.Connection[Any]", address: Address) -> None:
    """Raise where a daemon of this flowd cannot work with what is there.

    Raises:
        NotYetError: It is a standby.
        StateError: With the remedy.
    """
    if raw.info.server_version < MIN_SERVER:
        raise StateError(
            f"The server of {address} is PostgreSQL {raw.info.server_version // 10_000}; flowd needs 15 or newer."
        )
    if _one(raw, "SELECT pg_is_in_recovery()")[0]:
        raise NotYetError(
            f"The database {address} is a standby, which takes no writes until it is promoted. Name the primary in store, "
            f"or all servers."
        )
    there = found(raw, address.schema)
    if there is None:
        raise StateError(f"The database {address} has no flowd schema. Make it once: flowd store init")
    if there.version < known():
        raise StateError(
            f"The schema of {address} is {there.version}, and this flowd needs {known()}. Upgrade it: flowd store "
            f"upgrade"
        )
    if there.min_reader > known():
        raise StateError(
            f"The schema of {address} is {there.version}, of flowd {there.changed_by}: this one knows {known()}. "
            f"Install that version, or a later one."
        )


def _one(raw: "psycopg.Connection[Any]", statement: str) -> Any:
    return raw.execute(statement, prepare=False).fetchone()
