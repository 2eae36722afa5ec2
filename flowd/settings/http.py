"""Reads ``[http]``: what the HTTP shim listens on, and who may do what there. Every refusal is a `ValueError`."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from flowd.api.http.config import (
    DEFAULT_HOST,
    DEFAULT_PORT,
    Access,
    Address,
    HttpConfig,
    Limits,
    PassedAddress,
    Token,
    UnixAddress,
)
from flowd.settings.addresses import choose_address
from flowd.settings.files import SettingsFile
from flowd.settings.hooks import read_hook
from flowd.settings.http_tables import HttpTable, TokenTable
from flowd.settings.secrets import SecretsReader

_ENVELOPE_BYTES = 64 * 1024
"""What an event may have around its payload."""

_TRUE = ("1", "true", "yes", "on")


def load(
    flag: object,
    environ: Mapping[str, str],
    files: Sequence[SettingsFile],
    *,
    root: Path,
    max_payload_bytes: int,
    is_open: bool = False,
) -> tuple[HttpConfig | None, str]:
    """Read HTTP's settings, and say who asked for HTTP; None where nobody did.

    Args:
        flag: The value of ``--http``; an empty string asks for the default address.
        files: The strongest first; the first that has ``[http]`` is taken whole.
        root: Relative paths start here.
        is_open: The value of ``--http-open``.

    Raises:
        ValueError: A value cannot be used; the message says which, and what it may be.
    """
    found = ((str(file.path), file.tables.http) for file in files if file.tables.http is not None)
    place, table = next(found, ("", HttpTable()))
    listen = None if table.listen is None else str(table.listen)
    address, origin = choose_address(flag, environ, listen, place, root)
    if address is None:
        return None, origin
    secrets = SecretsReader(environ, root)
    opened = is_open or table.open or open_by(environ)
    access = _access(table, place, secrets, address, is_open=opened)
    hooks = {
        name: read_hook(name, hook, str(file.path), secrets)
        for file in reversed(files)
        for name, hook in (file.tables.hooks or {}).items()
    }
    limits = Limits(
        max_body_bytes=table.max_body_bytes or max_payload_bytes + _ENVELOPE_BYTES,
        max_connections=table.max_connections,
        max_streams=table.max_streams,
        header_s=float(table.header_s),
        body_s=float(table.body_s),
        keep_alive_s=float(table.keep_alive_s),
        stall_s=float(table.stall_s),
    )
    hosts = frozenset(host.lower() for host in table.allowed_hosts)
    config = HttpConfig(
        address,
        access,
        limits,
        hooks,
        allowed_hosts=hosts,
        private=tuple(secrets.variables),
        secret_files=tuple(secrets.files),
        base_path=table.base_path.rstrip("/"),
        is_source_in_id=table.cloud_events_id == "source-and-id",
    )
    return config, origin


def open_by(environ: Mapping[str, str]) -> bool:
    """Whether the environment lets everybody on this machine in."""
    return environ.get("FLOWD_HTTP_OPEN", "").lower() in _TRUE


def _access(table: HttpTable, place: str, reader: SecretsReader, address: Address, *, is_open: bool) -> Access:
    secrets = reader.shim_secrets()
    if table.secret_file is not None or table.secret_env is not None:
        secrets += reader.named(table.secret_file, table.secret_env, f"{place}: [http]")
    tokens = reader.shim_tokens()
    tokens += [
        _token(name, token, f"{place}: [http.tokens.{name}]", reader) for name, token in (table.tokens or {}).items()
    ]
    needs_token = not is_open and not secrets and not tokens and not isinstance(address, UnixAddress)
    is_read_public = table.public_read
    if is_read_public is None:
        is_read_public = not tokens and not needs_token and address.is_loopback
    access = Access(
        tuple(secrets),
        tuple(tokens),
        table.signatures,
        is_read_public,
        table.window_s,
        is_v1_enough=table.allow_replayed_v1,
        needs_token=needs_token,
    )
    if access.is_open and not address.is_loopback and not isinstance(address, PassedAddress):
        raise ValueError(
            f"HTTP on {address} would let anybody on the network start processes here. Set FLOWD_HTTP_SECRET_FILE or "
            f"[http.tokens], or listen on {DEFAULT_HOST}:{DEFAULT_PORT}."
        )
    return access


def _token(name: str, table: TokenTable, where: str, reader: SecretsReader) -> Token:
    if table.sha256 is not None:
        digest = bytes.fromhex(table.sha256)
    else:
        secret, *_ = reader.named(table.file, table.env, where, names=("file", "env"))
        digest = hashlib.sha256(secret).digest()
    return Token(name, digest, frozenset(table.scopes))
