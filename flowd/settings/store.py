"""Finds where the store is: ``FLOWD_STORE``, the credential ``flowd-store``, or ``store`` of a settings file.

The address of a shared one may have a password in it. It is not shown, and no settings file may have it. Every refusal
is a `ValueError` whose message names the place, and shows nothing of the address.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlencode

from flowd.formats.typed import Problem
from flowd.settings.secrets import SecretsReader

LOCAL = "sqlite"
"""The store in the state folder, for a source that takes back what a weaker one says."""
DEFAULT_SCHEMA = "flowd"
VARIABLE = "FLOWD_STORE"
CREDENTIAL = "flowd-store"

_SCHEME = re.compile(r"^postgres(?:ql)?://", re.IGNORECASE)
_SCHEMA = re.compile(r"^[a-z_][a-z0-9_]{0,39}$")
_SECRET_OPTIONS = ("password", "sslpassword")
_LOOPBACK = re.compile(r"^(?:localhost|127(?:\.\d+){3}|::1)$", re.IGNORECASE)
EXAMPLE = "postgresql://USER@HOST/DATABASE"


@dataclass(frozen=True, slots=True)
class StoreAddress:
    """Where a shared store is.

    Attributes:
        url: For libpq, with the password where it has one; ``sslmode`` is said in it for a server that is not local.
        shown: The same for people: no password, and how it was written.
        schema: Of its tables.
        passwords: What must not be shown, as it may be printed.
    """

    url: str = field(repr=False)
    shown: str
    schema: str
    passwords: tuple[str, ...] = field(default=(), repr=False)

    def __str__(self) -> str:
        return self.shown


def load(
    environ: Mapping[str, str], files: Sequence[tuple[Path, object]], root: Path
) -> tuple[StoreAddress | None, str]:
    """The address of the shared store, None for the store in the state folder; and where that is said.

    Args:
        files: Each with its ``store``, the strongest first; None where it has none.
        root: Where relative paths start.

    Raises:
        ValueError: It cannot be used, or a file has a password.
    """
    address, origin = _strongest(environ, files, root)
    if address is not None and environ.get("PGPASSWORD"):
        address = replace(address, passwords=(*address.passwords, environ["PGPASSWORD"]))
    return address, origin


def _strongest(
    environ: Mapping[str, str], files: Sequence[tuple[Path, object]], root: Path
) -> tuple[StoreAddress | None, str]:
    if said := environ.get(VARIABLE):
        return _read(said, f"${VARIABLE}", environ)
    if lines := SecretsReader(environ, root).store():
        return _read(lines[0].decode("utf-8", "replace"), f"credential {CREDENTIAL}", environ)
    for path, member in files:
        if member is not None:
            return _read(member, str(path), environ)
    return None, "default"


def problems(said: str) -> Iterator[Problem]:
    """What is wrong with an address in a file, of which nothing is shown."""
    if said.strip() == LOCAL:
        return
    try:
        has_password = bool(parse(said.strip(), {}).passwords)
    except ValueError as error:
        yield Problem(str(error).removesuffix("."))
        return
    if has_password:
        yield Problem(
            "has a password in it, which whoever reads this file would know",
            remedy=f"Take it out, and set ${VARIABLE}, the credential {CREDENTIAL}, or a password file ($PGPASSFILE).",
        )


def _read(said: object, origin: str, environ: Mapping[str, str]) -> tuple[StoreAddress | None, str]:
    text = said.strip() if isinstance(said, str) else ""
    if text == LOCAL:
        return None, origin
    try:
        return parse(text, environ), origin
    except ValueError as error:
        raise ValueError(f"{origin}: store {error}") from None


def parse(text: str, environ: Mapping[str, str]) -> StoreAddress:
    """Read the URL of a PostgreSQL database, as libpq takes it, with ``schema=`` among its options.

    >>> address = parse("postgresql://me:secret@db1:5433,db2/work?schema=team&connect_timeout=3", {})
    >>> str(address), address.schema, address.passwords
    ('postgresql://me@db1:5433,db2/work?connect_timeout=3', 'team', ('secret',))
    >>> address.url
    'postgresql://me:secret@db1:5433,db2/work?connect_timeout=3&sslmode=verify-full'
    >>> parse("postgresql:///work?host=/run/postgresql", {}).url
    'postgresql:///work?host=/run/postgresql'

    Raises:
        ValueError: It is none. The message goes on after the setting's name.
    """
    scheme = _SCHEME.match(text)
    if scheme is None or not text.isprintable() or "#" in text or " " in text:
        raise ValueError(f"must be the URL of a PostgreSQL database, like {EXAMPLE}, or {LOCAL}.")
    place, _, query = text[scheme.end() :].partition("?")
    authority, slash, database = place.partition("/")
    user_info, at, hosts = authority.rpartition("@")
    user, _, password = user_info.partition(":")
    schema, options = _schema_and_options(query)
    plain = [option for option in options if option[0] not in _SECRET_OPTIONS]
    secret = [password, unquote(password), *(value for name, value in options if name in _SECRET_OPTIONS)]
    if not _says_sslmode(options, environ) and not _is_local(hosts, dict(options), environ):
        options.append(("sslmode", "verify-full"))
    return StoreAddress(
        url=f"postgresql://{authority}{slash}{database}{_query(options)}",
        shown=f"postgresql://{user}{at}{hosts}{slash}{database}{_query(plain)}",
        schema=schema,
        passwords=tuple(dict.fromkeys(filter(None, secret))),
    )


def _schema_and_options(query: str) -> tuple[str, list[tuple[str, str]]]:
    """The schema, and what else stands behind the question mark."""
    try:
        said = parse_qsl(query, keep_blank_values=True, strict_parsing=True, errors="strict") if query else []
    except ValueError:
        raise ValueError(f"must have its options as NAME=VALUE&NAME=VALUE, like {EXAMPLE}?schema=team.") from None
    schema = dict(said).get("schema", DEFAULT_SCHEMA)
    if not _SCHEMA.match(schema) or schema.startswith("pg_"):
        raise ValueError("must have a plain name as its schema: at most 40 small letters, digits and '_'.")
    return schema, [option for option in said if option[0] != "schema"]


def _query(options: Sequence[tuple[str, str]]) -> str:
    return f"?{urlencode(options, quote_via=quote, safe='/:,')}" if options else ""


def _says_sslmode(options: Sequence[tuple[str, str]], environ: Mapping[str, str]) -> bool:
    """Whether somebody has decided how the server is to be trusted; a service's file may say it, too."""
    return bool({"sslmode", "service"} & dict(options).keys() or {"PGSSLMODE", "PGSERVICE"} & environ.keys())


def _is_local(hosts: str, options: Mapping[str, str], environ: Mapping[str, str]) -> bool:
    """Whether every server is reached without a network: by a socket's folder, or on the loopback."""
    named = [_bare(host) for host in unquote(hosts).split(",")]
    named += [host for name in ("host", "hostaddr") for host in options.get(name, "").split(",")]
    if not any(named):
        named = [host for name in ("PGHOST", "PGHOSTADDR") for host in environ.get(name, "").split(",")]
    return all(not host or host.startswith(("/", "@")) or _LOOPBACK.match(host) for host in named)


def _bare(host: str) -> str:
    """A host without its port.

    >>> [_bare(host) for host in ("db:5432", "db", "[::1]:5432", ":5432", "/run/x")]
    ['db', 'db', '::1', '', '/run/x']
    """
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host if host.startswith("/") else host.partition(":")[0]
