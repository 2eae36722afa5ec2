"""The shape of ``[http]`` and of ``[http.tokens.NAME]``."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Literal

from flowd.api.http.config import SCOPES, Limits, Scope
from flowd.formats.typed import About, Meta, Problem, Rule, Struct
from flowd.settings.addresses import parse_address

_Path = Annotated[str, Meta(description="a path")]
_Variable = Annotated[str, Meta(description="a variable's name")]
_Positive = Annotated[int, Meta(ge=1)]
_SWITCHES = ("", "0", "off", "no", "false", "1", "on", "yes", "true")


def _address(said: str | int | bool) -> Iterator[Problem]:
    if str(said).lower() in _SWITCHES:
        return
    try:
        parse_address(str(said), root=Path("/"))
    except ValueError as error:
        yield Problem(f": {error}".removesuffix("."))


class TokenTable(Struct, forbid_unknown_fields=True):
    """``[http.tokens.NAME]``."""

    scopes: Annotated[
        list[Scope],
        Meta(min_length=1, description=f"a list of strings, some of {', '.join(SCOPES)}"),
        About(
            "What it is good for: `read` looks, `dispatch` sends events and replays them, `control` does the rest.",
            example='["read"]',
        ),
    ]
    file: Annotated[_Path | None, About("A file with the token, which nobody else can read.")] = None
    env: Annotated[_Variable | None, About("A variable of the daemon's environment with it. No step inherits it.")] = (
        None
    )
    sha256: Annotated[
        Annotated[str, Meta(pattern="^[0-9A-Fa-f]{64}$", description="64 hex digits: printf %s TOKEN | sha256sum")]
        | None,
        About(
            "The SHA-256 of the token: then no file here has it.",
            example=f'"{hashlib.sha256().hexdigest()}"',
            is_private=True,
        ),
    ] = None

    def problems(self) -> Iterable[Problem]:
        """It has to say where the token is."""
        if self.file is None and self.env is None and self.sha256 is None:
            yield Problem("needs file (a path) or env (a variable's name)", remedy="Or sha256, the token's digest.")


class HttpTable(Struct, forbid_unknown_fields=True):
    """``[http]``."""

    listen: Annotated[
        Annotated[str | int | bool, Meta(description="an address")] | None,
        About(
            "Where HTTP is served: `HOST:PORT`, a port, `unix:/path` or `systemd:NAME`; `true` is 127.0.0.1:7345.",
            default="off",
            example='"127.0.0.1:7345"',
            variables=("FLOWD_HTTP",),
            flag="--http",
        ),
        Rule(_address),
    ] = None
    open: Annotated[
        bool,
        About(
            "Everybody on this machine may do everything without a secret, and no token is made.",
            variables=("FLOWD_HTTP_OPEN",),
            flag="--http-open",
        ),
    ] = False
    secret_file: Annotated[
        _Path | None,
        About("A file with the secrets that sign requests, one a line.", variables=("FLOWD_HTTP_SECRET_FILE",)),
    ] = None
    secret_env: Annotated[_Variable | None, About("A variable of the daemon's environment with one.")] = None
    signatures: Annotated[
        Literal["v1", "v2", "both"], About("Which signatures count: `v1` is the TypeScript system's.")
    ] = "v1"
    public_read: Annotated[
        bool | None,
        About(
            "Reading needs neither token nor signature.",
            default="`true` on loopback where there are secrets and no tokens, else `false`",
            example="true",
        ),
    ] = None
    allow_replayed_v1: Annotated[
        bool,
        About("A v1 signature, which whoever has seen it can send again, counts from other machines for everything."),
    ] = False
    window_s: Annotated[_Positive, About("How many seconds the time of a v2 signature may be off.")] = 300
    base_path: Annotated[
        str,
        Meta(pattern=r"^(/[^/?#\s]+)*/?$", description="a path like /flowd"),
        About("Where a proxy has flowd below its root.", example='"/flowd"'),
    ] = ""
    allowed_hosts: Annotated[
        tuple[str, ...],
        Meta(description="a list of strings"),
        About("Names that a `Host` header may have, beside those of loopback.", example='["flowd.example.org"]'),
    ] = ()
    cloud_events_id: Annotated[
        Literal["source-and-id", "id"], About("By what CloudEvents are known: `source-and-id` as they are meant to be.")
    ] = "source-and-id"
    max_body_bytes: Annotated[
        Annotated[int, Meta(ge=1024)] | None,
        About("Of a request.", default="`max_payload_bytes` and 64 KiB", example="1048576"),
    ] = None
    max_connections: Annotated[_Positive, About("At the same time.")] = Limits.max_connections
    max_streams: Annotated[int, Meta(ge=0), About("Streams of server-sent events at the same time.")] = (
        Limits.max_streams
    )
    header_s: Annotated[_Positive, About("Seconds that the headers of a request may take.")] = int(Limits.header_s)
    body_s: Annotated[_Positive, About("Seconds that its body may take.")] = int(Limits.body_s)
    keep_alive_s: Annotated[_Positive, About("Seconds that an idle connection stays.")] = int(Limits.keep_alive_s)
    stall_s: Annotated[_Positive, About("Seconds that a reader may take nothing.")] = int(Limits.stall_s)
    tokens: Annotated[
        Annotated[dict[str, TokenTable], Meta(description="tables by name, like [http.tokens.ci]")] | None,
        About("Bearer tokens by name: `[http.tokens.NAME]`."),
    ] = None
