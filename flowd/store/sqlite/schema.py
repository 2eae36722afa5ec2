"""Compares the schema that a database has with the one that its version means. Reads only."""

import re
import sqlite3
from importlib.resources import files

_MIGRATION = re.compile(r"(\d{4})_\w+\.sql")
_COMMENT = re.compile(r"--[^\n]*")

Shape = dict[tuple[str, str], object]
"""By type and name: the columns of a table, and the words of an index or a trigger."""


def migrations() -> list[str]:
    """The scripts in order; script n brings the schema from n-1 to n. Their texts never change once they are out."""
    folder = files("flowd.store.sqlite") / "migrations"
    scripts = sorted(
        (entry for entry in folder.iterdir() if _MIGRATION.fullmatch(entry.name)), key=lambda entry: entry.name
    )
    return [script.read_text(encoding="utf-8") for script in scripts]


def known_schema() -> int:
    """The version of the schema that this flowd brings a database to."""
    return len(migrations())


def differences(db: sqlite3.Connection, version: int) -> list[str]:
    """What the schema lacks, or has otherwise, that it should have at this version, for people; empty where all is as
    meant. What somebody has added beside it, such as an index, is no difference."""
    has, meant = _shape(db), _meant(version)
    return [
        f"{kind} {name} is {'not as it should be' if (kind, name) in has else 'missing'}"
        for (kind, name), what in meant.items()
        if has.get((kind, name)) != what
    ]


def _meant(version: int) -> Shape:
    db = sqlite3.connect(":memory:", isolation_level=None)
    try:
        for script in migrations()[:version]:
            db.executescript(f"BEGIN; {script}; COMMIT")
        return _shape(db)
    finally:
        db.close()


def _shape(db: sqlite3.Connection) -> Shape:
    found = db.execute(
        "SELECT type, name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
    ).fetchall()
    return {(kind, name): _columns(db, name) if kind == "table" else _words(sql) for kind, name, sql in found}


def _columns(db: sqlite3.Connection, table: str) -> frozenset[tuple[object, ...]]:
    """Not the statement that made the table: SQLite's versions write an ALTER TABLE into it in different ways."""
    return frozenset(
        (name, kind, not_null, place_in_key)
        for _, name, kind, not_null, _, place_in_key in db.execute("SELECT * FROM pragma_table_info(?)", (table,))
    )


def _words(sql: str) -> str:
    return " ".join(_COMMENT.sub("", sql).split())
