"""Looks at a database as a daemon would use it, and tells what is wrong. Changes nothing."""

import time
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import psycopg

from flowd.domain.errors import StateError
from flowd.store.postgres import errors, pooler, schema
from flowd.store.postgres.address import Address

_CLOCK_MS = 1_000
_TABLES = ("events", "runs", "attempts", "journal", "tallies")


class Seen(NamedTuple):
    """One thing that was looked at.

    Attributes:
        remedy: What to do about it; empty where all is well.
    """

    what: str
    level: Literal["ok", "warn", "fail"]
    found: str
    remedy: str = ""


def look(address: Address) -> Iterator[Seen]:
    """Look at everything, as far as what was found lets us."""
    try:
        raw = psycopg.connect(**address.parameters, autocommit=True)
    except psycopg.Error as error:
        yield Seen("reached", "fail", errors.at_start(error, address).message, "Mend it; flowd tries again by itself.")
        return
    with raw:
        if not _one(raw, "SELECT pg_is_in_recovery()")[0]:
            yield from _looked(raw, address)
            return
        yield Seen(
            "server",
            "fail",
            f"{address} is a standby, which takes no writes",
            "Name the primary in store, or all servers.",
        )


def _looked(raw: "psycopg.Connection[Any]", address: Address) -> Iterator[Seen]:
    (version,) = _one(raw, "SHOW server_version")
    yield Seen("server", "ok", f"PostgreSQL {version} at {address}")
    yield _link(raw, address)
    try:
        schema.refuse_unusable(raw, address)
    except StateError as error:
        yield Seen("schema", "fail", error.message)
        return
    there = schema.found(raw, address.schema)
    yield Seen("schema", "ok", f"{address.schema}, version {there.version if there else 0}")
    yield from _rights(raw, address)
    yield _durability(raw, address)
    yield _clock(raw)
    yield _listening(raw, address)


def _link(raw: "psycopg.Connection[Any]", address: Address) -> Seen:
    if raw.pgconn.ssl_in_use:
        mode = address.parameters.get("sslmode", "prefer")
        if mode in ("verify-full", "verify-ca"):
            return Seen("link", "ok", f"TLS, {mode}")
        return Seen(
            "link", "warn", f"TLS, but sslmode is {mode}: anybody can be the server", "Set sslmode=verify-full."
        )
    if raw.info.host.startswith(("/", "@")) or raw.info.host in ("", "localhost", "127.0.0.1", "::1"):
        return Seen("link", "ok", "local, without TLS")
    return Seen(
        "link", "warn", "over a network without TLS: payloads and results can be read", "Set sslmode=verify-full."
    )


def _rights(raw: "psycopg.Connection[Any]", address: Address) -> Iterator[Seen]:
    missing = [
        f"{right} on {table}"
        for table in _TABLES
        for right in ("SELECT", "INSERT", "UPDATE", "DELETE")
        if not _one(raw, f"SELECT has_table_privilege('{address.schema}.{table}', '{right}')")[0]
    ]
    (role, may_change) = _one(raw, f"SELECT current_user, has_schema_privilege('{address.schema}', 'CREATE')")
    if missing:
        yield Seen("rights", "fail", f"{role} lacks {', '.join(missing)}", f"flowd store upgrade --host-role {role}")
    elif may_change:
        yield Seen(
            "rights",
            "warn",
            f"{role} may change the schema itself, which no daemon needs",
            "Make a role for daemons, and let the owner run: flowd store init --host-role ROLE",
        )
    else:
        yield Seen("rights", "ok", f"{role} may read and write rows, and no more")


def _durability(raw: "psycopg.Connection[Any]", address: Address) -> Seen:
    off = [name for name in ("fsync", "full_page_writes") if _one(raw, f"SHOW {name}")[0] == "off"]
    (commit,) = _one(raw, "SHOW synchronous_commit")
    (confirming,) = _one(raw, "SHOW synchronous_standby_names")
    off += ["synchronous_commit"] if commit == "off" else []
    if off:
        found = f"{', '.join(off)} is off: what was acknowledged may be lost when the server fails"
        return Seen("durability", "warn", found, "Turn it on.")
    if confirming and commit != "local":
        return Seen("durability", "ok", f"synchronous_commit {commit}, standbys {confirming}")
    if _has_standby(raw, address):
        why = "synchronous_commit is local" if confirming else "synchronous_standby_names is empty"
        return Seen(
            "durability",
            "warn",
            f"{why}: what was acknowledged last is lost when a standby takes over",
            "Set synchronous_standby_names, and leave synchronous_commit on.",
        )
    return Seen("durability", "ok", f"synchronous_commit {commit}; no standby confirms a commit")


def _has_standby(raw: "psycopg.Connection[Any]", address: Address) -> bool:
    """Whether another server may take over: one follows this one, or the address names several."""
    hosts = [str(address.parameters.get(name) or "") for name in ("host", "hostaddr")]
    return any("," in said for said in hosts) or bool(_one(raw, "SELECT count(*) FROM pg_stat_replication")[0])


def _clock(raw: "psycopg.Connection[Any]") -> Seen:
    began_ns = time.time_ns()
    (theirs_ms,) = _one(raw, "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")
    offset_ms = theirs_ms - (began_ns + time.time_ns()) // 2_000_000
    if abs(offset_ms) > _CLOCK_MS:
        ahead = "ahead of" if offset_ms > 0 else "behind"
        return Seen(
            "clock", "warn", f"the database's is {abs(offset_ms) / 1000:.1f} s {ahead} ours", "Set both by NTP."
        )
    return Seen("clock", "ok", f"the database's is {offset_ms} ms from ours")


def _listening(raw: "psycopg.Connection[Any]", address: Address) -> Seen:
    if not pooler.keeps_sessions(raw, address):
        return Seen("listening", "fail", pooler.FOUND, pooler.REMEDY)
    return Seen("listening", "ok", "commits of other hosts are heard at once")


def _one(raw: "psycopg.Connection[Any]", statement: str) -> Any:
    return raw.execute(statement).fetchone()
