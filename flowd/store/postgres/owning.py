"""Makes the schema and changes it: what its owner does, and a daemon never."""

from typing import Any, cast

import psycopg
from psycopg import sql

import flowd
from flowd.domain.errors import StateError
from flowd.store.postgres import errors, schema
from flowd.store.postgres.address import Address
from flowd.store.postgres.connection import lock_key
from flowd.store.postgres.schema import Version


def bring_up_to_date(address: Address, *, is_new: bool, host_role: str | None = None) -> tuple[int, int]:
    """Make the schema, or upgrade it, all or nothing, with others who do the same waiting. From where it came, and where
    it is.

    Args:
        is_new: Make it where there is none; else there has to be one.
        host_role: Gets what daemons need.

    Raises:
        StateError: There is none, or it is a newer flowd's; or the server cannot be reached, or does not let us.
    """
    try:
        with psycopg.connect(**address.parameters, autocommit=True) as raw, raw.transaction():
            versions = _migrate(raw, address, is_new=is_new)
            if host_role is not None:
                _grant(raw, address.schema, host_role)
            return versions
    except psycopg.Error as error:
        raise errors.at_start(error, address) from error


def _migrate(raw: "psycopg.Connection[Any]", address: Address, *, is_new: bool) -> tuple[int, int]:
    _execute(raw, f"SELECT pg_advisory_xact_lock({lock_key(address.schema)})")
    there = schema.found(raw, address.schema)
    if there is None and not is_new:
        raise StateError(f"The database {address} has no flowd schema. Make it once: flowd store init")
    before = 0 if there is None else there.version
    scripts = schema.migrations()
    if before > len(scripts):
        raise StateError(
            f"The schema of {address} is {before}, of a newer flowd ({cast('Version', there).changed_by}); this one "
            f"knows {len(scripts)}."
        )
    if before == len(scripts):
        return before, before
    _execute(raw, f"CREATE SCHEMA IF NOT EXISTS {address.schema}; SET LOCAL search_path = {address.schema}")
    min_reader = 0 if there is None else there.min_reader
    for number, script in enumerate(scripts[before:], before + 1):
        _execute(raw, script)
        said = schema.MIN_READER.search(script)
        min_reader = max(min_reader, int(said[1]) if said else 0, 1 if number == 1 else 0)
    _execute(raw, "DELETE FROM schema_version")
    raw.execute(
        "INSERT INTO schema_version (version, min_reader, changed_by) VALUES (%s, %s, %s)",
        (len(scripts), min_reader, flowd.__version__),
    )
    return before, len(scripts)


def _grant(raw: "psycopg.Connection[Any]", of_schema: str, role: str) -> None:
    """Also for what later migrations make."""
    names = {"schema": sql.Identifier(of_schema), "role": sql.Identifier(role)}
    for statement in (
        "GRANT USAGE ON SCHEMA {schema} TO {role}",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role}",
        "GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO {role}",
        "REVOKE INSERT, UPDATE, DELETE ON {schema}.schema_version FROM {role}",
        "ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {role}",
        "ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT USAGE ON SEQUENCES TO {role}",
    ):
        raw.execute(sql.SQL(statement).format(**names))


def _execute(raw: "psycopg.Connection[Any]", statements: str) -> None:
    raw.execute(statements, prepare=False)
