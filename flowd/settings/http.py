"""The HTTP shim's settings: ``--http``, ``FLOWD_HTTP``, and the tables ``[http]`` and ``[hooks.NAME]`` of a file.

Secrets come from files, environment variables and systemd credentials, never from the command line: anybody on the
machine can read that. Every refusal is a `ValueError` whose message names the place.
"""

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from flowd.api.http.config import (
    DEFAULT_HOST,
    DEFAULT_PORT,
    SCOPES,
    Access,
    Address,
    Hook,
    HttpConfig,
    Limits,
    PassedAddress,
    Scope,
    TcpAddress,
    Token,
    UnixAddress,
)

Table = Mapping[str, Any]

_ENVELOPE_BYTES = 64 * 1024
"""What an event may have around its payload."""

_SECONDS = ("header_s", "body_s", "keep_alive_s", "stall_s")
_HTTP_KEYS = {
    "listen", "secret_file", "secret_env", "signatures", "public_read", "allowed_hosts", "max_body_bytes",
    "max_connections", "max_streams", "tokens", "window_s",
    *_SECONDS,
}  # fmt: skip
_HOOK_KEYS = {
    "kind", "secret_file", "secret_env", "id", "type", "source", "occurred_at", "payload", "when", "header",
    "algorithm", "prefix", "encoding",
}  # fmt: skip
_TOKEN_KEYS = {"file", "env", "sha256", "scopes"}
_OFF = ("", "0", "off", "no", "false")
_ON = ("1", "on", "yes", "true")


def load(
    flag: object,
    environ: Mapping[str, str],
    files: Sequence[tuple[Path, dict[str, Any]]],
    *,
    root: Path,
    max_payload_bytes: int,
) -> tuple[HttpConfig | None, str]:
    """What was asked for, and where that was; None where nobody asked for HTTP.

    Args:
        flag: The value of ``--http``; an empty string asks for the default address.
        files: The strongest first; the first that has ``[http]`` is taken whole.
        root: Relative paths start here.

    Raises:
        ValueError: A value cannot be used; the message says which, and what it may be.
    """
    place, table = next(((str(path), members["http"]) for path, members in files if "http" in members), ("", {}))
    _check(place, "[http]", table, _HTTP_KEYS)
    address, origin = _address(flag, environ, table, place, root)
    if address is None:
        return None, origin
    reader = _Secrets(environ, root)
    access = _access(table, place, reader, address)
    hooks = {
        name: _hook(f"{path}: [hooks.{name}]", name, members, reader)
        for path, file_members in reversed(files)
        for name, members in _named(path, file_members.get("hooks", {})).items()
    }
    limits = Limits(
        max_body_bytes=_whole(table, "max_body_bytes", place, max_payload_bytes + _ENVELOPE_BYTES, low=1024),
        max_connections=_whole(table, "max_connections", place, Limits.max_connections, low=1),
        max_streams=_whole(table, "max_streams", place, Limits.max_streams, low=0),
        header_s=_seconds(table, "header_s", place),
        body_s=_seconds(table, "body_s", place),
        keep_alive_s=_seconds(table, "keep_alive_s", place),
        stall_s=_seconds(table, "stall_s", place),
    )
    hosts = frozenset(host.lower() for host in _strings(table, "allowed_hosts", f"{place}: [http]"))
    return HttpConfig(address, access, limits, hooks, hosts, tuple(reader.variables)), origin


def parse_address(text: str, *, root: Path, host: str = DEFAULT_HOST, port: int = DEFAULT_PORT) -> Address:
    """``HOST:PORT``, ``HOST``, ``:PORT``, ``PORT``, ``[::1]:PORT``, ``unix:/path`` or ``systemd[:NAME]``.

    Raises:
        ValueError: It is none of these.

    >>> str(parse_address("8080", root=Path("/"))), str(parse_address("[::1]:1", root=Path("/")))
    ('127.0.0.1:8080', '[::1]:1')
    """
    if text.startswith("unix:"):
        return UnixAddress(str(root / Path(text.removeprefix("unix:")).expanduser()))
    if text == "systemd" or text.startswith("systemd:"):
        return PassedAddress(text.partition(":")[2] or "http")
    bare = text.strip()
    if bare.startswith("["):
        name, _, rest = bare[1:].partition("]")
        rest = rest.removeprefix(":")
    elif bare.isdigit():
        name, rest = "", bare
    else:
        name, _, rest = bare.rpartition(":") if ":" in bare else (bare, "", "")
    if (rest and (not rest.isdigit() or int(rest) > 65535)) or (":" in name and not bare.startswith("[")):
        raise ValueError(f"{text!r} is no address. Say HOST:PORT, [IPv6]:PORT, unix:/path or systemd:NAME.")
    return TcpAddress(name or host, int(rest) if rest else port)


def _address(
    flag: object, environ: Mapping[str, str], table: Table, place: str, root: Path
) -> tuple[Address | None, str]:
    if flag is not None:
        asked, origin = str(flag), "flag --http"
        asked = asked or "on"
    elif environ.get("FLOWD_HTTP"):
        asked, origin = environ["FLOWD_HTTP"], "$FLOWD_HTTP"
    elif "listen" in table:
        asked, origin = str(table["listen"]), place
    else:
        return None, "default"
    if asked.lower() in _OFF:
        return None, origin
    port = environ.get("CODEX_FLOW_BACKEND_PORT") or str(DEFAULT_PORT)
    if not port.isdigit():
        raise ValueError(f"$CODEX_FLOW_BACKEND_PORT must be a port number, got {port[:60]!r}.")
    host = environ.get("CODEX_FLOW_BACKEND_HOST") or DEFAULT_HOST
    if asked.lower() in _ON and "listen" in table and origin != place:
        asked = str(table["listen"])
    if asked.lower() in _ON:
        return TcpAddress(host, int(port)), origin
    try:
        return parse_address(asked, root=root, host=host, port=int(port)), origin
    except ValueError as error:
        raise ValueError(f"{origin}: {error}") from None


def _access(table: Table, place: str, reader: "_Secrets", address: Address) -> Access:
    signatures = table.get("signatures", "v1")
    if signatures not in ("v1", "v2", "both"):
        raise ValueError(f'{place}: [http] signatures must be "v1", "v2" or "both", got {str(signatures)[:60]!r}.')
    secrets = reader.daemon_secrets(table, place)
    tokens = reader.daemon_tokens()
    for name, members in _named(place, table.get("tokens", {})).items():
        where = f"{place}: [http.tokens.{name}]"
        _check(where, "", members, _TOKEN_KEYS)
        scopes = _strings(members, "scopes", where)
        if not scopes or not set(scopes) <= set(SCOPES):
            raise ValueError(f"{where} scopes must be some of {', '.join(SCOPES)}.")
        tokens.append(Token(name, reader.digest(members, where), frozenset(cast("list[Scope]", scopes))))
    public = table.get("public_read", not tokens and address.is_loopback)
    if not isinstance(public, bool):
        raise ValueError(f"{place}: [http] public_read must be true or false.")
    access = Access(tuple(secrets), tuple(tokens), signatures, public, _whole(table, "window_s", place, 300, low=1))
    if access.is_open and not address.is_loopback and not isinstance(address, PassedAddress):
        raise ValueError(
            f"HTTP on {address} would let anybody on the network start processes here. Set FLOWD_HTTP_SECRET_FILE or "
            f"[http.tokens], or listen on {DEFAULT_HOST}:{DEFAULT_PORT}."
        )
    return access


class _Secrets:
    """Reads secrets, and remembers the environment variables that held some."""

    def __init__(self, environ: Mapping[str, str], root: Path) -> None:
        self._environ = environ
        self._root = root
        self.variables: list[str] = []

    def daemon_secrets(self, table: Table, place: str) -> list[bytes]:
        """The shim's own, of all the places where there are any."""
        found: list[bytes] = []
        if path := self._environ.get("FLOWD_HTTP_SECRET_FILE"):
            found += self._file(path, "$FLOWD_HTTP_SECRET_FILE")
        for variable in ("FLOWD_HTTP_SECRET", "CODEX_FLOW_BACKEND_SECRET"):
            if value := self._environ.get(variable):
                found.append(value.encode())
        if "secret_file" in table or "secret_env" in table:
            found += self.of(table, f"{place}: [http]")
        return found + self._credential("flowd-http-secret")

    def daemon_tokens(self) -> list[Token]:
        """Tokens without a table of their own may do everything."""
        texts = [self._environ["FLOWD_HTTP_TOKEN"].encode()] if self._environ.get("FLOWD_HTTP_TOKEN") else []
        texts += self._credential("flowd-http-token")
        return [Token("default", hashlib.sha256(text).digest(), frozenset(SCOPES)) for text in texts]

    def of(self, members: Table, where: str, *, names: tuple[str, str] = ("secret_file", "secret_env")) -> list[bytes]:
        """The secrets that a table names, one a line of its file."""
        found: list[bytes] = []
        file, env = (members.get(name) for name in names)
        if isinstance(file, str):
            found += self._file(file, f"{where} {names[0]}")
        if isinstance(env, str):
            self.variables.append(env)
            if not self._environ.get(env):
                raise ValueError(f"{where} {names[1]}: the environment has no {env}.")
            found.append(self._environ[env].encode())
        if not found:
            raise ValueError(f"{where} needs {names[0]} (a path) or {names[1]} (a variable's name).")
        return found

    def digest(self, members: Table, where: str) -> bytes:
        """A token's SHA-256."""
        if "sha256" in members:
            try:
                digest = bytes.fromhex(str(members["sha256"]))
            except ValueError:
                digest = b""
            if len(digest) != hashlib.sha256().digest_size:
                raise ValueError(f"{where} sha256 must be 64 hex digits: printf %s TOKEN | sha256sum.")
            return digest
        return hashlib.sha256(self.of(members, where, names=("file", "env"))[0]).digest()

    def _credential(self, name: str) -> list[bytes]:
        folder = self._environ.get("CREDENTIALS_DIRECTORY")
        if not folder:
            return []
        path = Path(folder) / name
        try:
            is_passed = path.exists()
        except OSError:
            is_passed = True  # it cannot be read, and who was given a secret must not go on without
        return self._file(str(path), f"credential {name}") if is_passed else []

    def _file(self, name: str, where: str) -> list[bytes]:
        path = self._root / Path(name).expanduser()
        try:
            lines = [line.strip() for line in path.read_bytes().splitlines()]
        except OSError as error:
            raise ValueError(f"{where}: cannot read {path}: {error.strerror}.") from None
        found = [line for line in lines if line]
        if not found:
            raise ValueError(f"{where}: {path} is empty; it holds one secret a line.")
        return found


def _hook(where: str, name: str, members: Table, reader: _Secrets) -> Hook:
    _check(where, "", members, _HOOK_KEYS)
    kind = members.get("kind")
    if kind not in ("github", "standard-webhooks", "hmac"):
        raise ValueError(f'{where} kind must be "github", "standard-webhooks" or "hmac".')
    secrets = reader.of(members, where)
    defaults: dict[str, str] = {}
    if kind == "github":
        defaults = {"id": "{header:X-GitHub-Delivery}", "type": "github.{header:X-GitHub-Event}", "source": "github"}
    elif kind == "standard-webhooks":
        defaults = {"id": "{header:webhook-id}", "type": "/type"}
        secrets = [_standard_secret(secret, where) for secret in secrets]
    texts = {
        key: _text(members, key, where, defaults.get(key))
        for key in ("id", "type", "source", "occurred_at", "header", "algorithm", "prefix", "encoding")
    }
    missing = [key for key in ("id", "type", *(("header",) if kind == "hmac" else ())) if not texts[key]]
    if missing:
        raise ValueError(f"{where} needs {' and '.join(missing)}.")
    if texts["algorithm"] not in (None, "sha1", "sha256", "sha512") or texts["encoding"] not in (None, "hex", "base64"):
        raise ValueError(f"{where} algorithm is sha1, sha256 or sha512, and encoding hex or base64.")
    return Hook(
        name=name,
        secrets=tuple(secrets),
        payload=_payload(members, where),
        when=_when(members, where),
        kind=kind,
        **cast("dict[str, Any]", {key: value for key, value in texts.items() if value is not None}),
    )


def _standard_secret(secret: bytes, where: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix(b"whsec_"), validate=True)
    except binascii.Error:
        raise ValueError(f"{where}: a Standard Webhooks secret is whsec_ and base64.") from None


def _payload(members: Table, where: str) -> str | dict[str, str] | None:
    payload = members.get("payload")
    if payload is None or isinstance(payload, str):
        return payload
    if isinstance(payload, dict) and all(isinstance(value, str) for value in payload.values()):
        return dict(payload)
    raise ValueError(f"{where} payload is a JSON Pointer, or a table of them by name.")


def _when(members: Table, where: str) -> dict[str, tuple[str, ...]] | None:
    when = members.get("when")
    if when is None:
        return None
    if not isinstance(when, dict):
        raise ValueError(f'{where} when is a table, like "/action" = ["published"].')
    return {
        key: tuple(str(item) for item in (value if isinstance(value, list) else [value])) for key, value in when.items()
    }


def _check(place: str, table: str, members: object, known: set[str]) -> None:
    where = f"{place}: {table}".removesuffix(": ")
    if not isinstance(members, Mapping):
        raise ValueError(f"{where} must be a table.")
    for name in members:
        if name not in known:
            raise ValueError(f"{where} has no setting {name!r}. Known are: {', '.join(sorted(known))}.")


def _named(place: object, tables: object) -> dict[str, Table]:
    if not isinstance(tables, dict) or not all(isinstance(members, dict) for members in tables.values()):
        raise ValueError(f"{place}: [hooks] and [http.tokens] hold tables by name, like [hooks.github].")
    return tables


def _text(members: Table, key: str, where: str, default: str | None) -> str | None:
    value = members.get(key, default)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{where} {key} must be a string.")
    return value


def _strings(members: Table, key: str, where: str) -> list[str]:
    value = members.get(key, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"{where} {key} must be a list of strings.")
    return value


def _seconds(table: Table, key: str, place: str) -> float:
    return float(_whole(table, key, place, int(getattr(Limits, key)), low=1))


def _whole(table: Table, key: str, place: str, default: int, *, low: int) -> int:
    value = table.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise ValueError(f"{place}: [http] {key} must be a whole number, {low} or more.")
    return value
