"""The configuration of HTTP as plain values: made by `flowd.settings.http`, used by `flowd.api.http`."""

import hashlib
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 7345

Scope = Literal["read", "dispatch", "control"]
SCOPES: tuple[Scope, ...] = ("read", "dispatch", "control")
"""``read`` looks, ``dispatch`` sends events and replays them, ``control`` cancels, retries, answers, pauses, and
replays steps by their names."""

LOCAL_TOKEN = "http-token"  # noqa: S105 - its name
"""The name of a token that the daemon has made."""


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """A host (a name or an address) and a port; port 0 takes a free one."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it. A name other than ``localhost`` could mean anything."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """A Unix socket; only its owner can open it."""

    path: str
    is_loopback = True

    def __str__(self) -> str:
        return f"unix:{self.path}"


@dataclass(frozen=True, slots=True)
class PassedAddress:
    """A listening socket that systemd opened, by its ``FileDescriptorName=``. It may face the network."""

    name: str
    is_loopback = False

    def __str__(self) -> str:
        return f"systemd:{self.name}"


Address = TcpAddress | UnixAddress | PassedAddress


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer token, known by its SHA-256 only.

    Attributes:
        name: For the log; never a secret.
        digest: SHA-256 of the token.
    """

    name: str
    digest: bytes
    scopes: frozenset[Scope]


@dataclass(frozen=True, slots=True)
class Access:
    """Who may do what.

    Attributes:
        secrets: Any of them signs; several while keys are exchanged.
        signatures: Which kinds of signature count.
        is_read_public: Reading needs neither token nor signature. True on loopback when there are secrets only,
            because the reference system's client never signs a GET.
        window_s: How far a v2 timestamp may be from our clock, either way.
        needs_token: Nobody gave a secret or a token, or said that everybody on this machine may do everything: on TCP
            the daemon makes a token. See `with_token`.
        is_v1_enough: A v1 signature, which whoever has seen it can send again, counts for replay, cancel, retry and
            CloudEvents in headers from everywhere, and not only from this machine.
    """

    secrets: tuple[bytes, ...] = ()
    tokens: tuple[Token, ...] = ()
    signatures: Literal["v1", "v2", "both"] = "v1"
    is_read_public: bool = True
    window_s: int = 300
    is_v1_enough: bool = False
    needs_token: bool = False

    @property
    def is_open(self) -> bool:
        """Nobody has to show anything; such a shim listens on loopback only."""
        return not self.secrets and not self.tokens

    def told(self) -> str:
        """Who gets in, in words for the log."""
        reads = "; everybody may read" if self.is_read_public else ""
        if self.is_open:
            return "everybody who reaches this address, without a secret"
        if any(token.name == LOCAL_TOKEN for token in self.tokens):
            return (
                f"the token in {LOCAL_TOKEN} of the state folder, as Authorization: Bearer (the reference system's "
                f"bearerToken); --http-open lets everybody on this machine in{reads}"
            )
        kinds = (["signatures"] if self.secrets else []) + (["tokens"] if self.tokens else [])
        return f"{' and '.join(kinds)}{reads}"

    def with_token(self, text: str) -> "Access":
        """For whoever shows this token, which may do everything."""
        token = Token(LOCAL_TOKEN, hashlib.sha256(text.encode()).digest(), frozenset(SCOPES))
        return replace(self, tokens=(token,), needs_token=False)


@dataclass(frozen=True)
class Limits:
    """What a caller can use up.

    Attributes:
        max_header_bytes: Request line and headers together.
        header_s: From the first byte of a request, or the start of the connection, to the end of its headers.
        body_s: For a whole body to arrive; beyond it the request is refused with 408.
        keep_alive_s: How long an idle connection stays.
        stall_s: How long a reader of a response may take nothing.
    """

    max_body_bytes: int
    max_header_bytes: int = 32 * 1024
    max_connections: int = 1024
    max_streams: int = 600
    header_s: float = 10.0
    body_s: float = 20.0
    keep_alive_s: float = 15.0
    stall_s: float = 30.0


@dataclass(frozen=True, slots=True)
class HookValue:
    """A member of a hook's payload.

    Attributes:
        default: In place of an absent value or a null; None leaves an absent one out.
    """

    template: str
    default: object = None


@dataclass(frozen=True, slots=True)
class Hook:
    """A webhook of somebody else: how it proves itself, and how it becomes an event.

    ``id``, ``type``, ``source``, ``occurred_at`` and the values of ``payload`` are templates: literal text with
    ``{/json/pointer}``, ``{header:NAME}`` and ``{body:sha256}`` in it, or one of these bare.

    Attributes:
        header: With the signature, or with the secret itself for kind ``token``.
        prefix: Of the header's value before the signature.
        payload: One template, or values by name; None is the whole body.
        when: Template → values, one of which it must have; everything else is ignored.
    """

    name: str
    kind: Literal["github", "stripe", "standard-webhooks", "hmac", "token"]
    secrets: tuple[bytes, ...]
    id: str
    type: str
    source: str | None = None
    occurred_at: str | None = None
    payload: str | Mapping[str, HookValue] | None = None
    when: Mapping[str, tuple[str, ...]] | None = None
    header: str = ""
    algorithm: Literal["sha1", "sha256", "sha512"] = "sha256"
    prefix: str = ""
    encoding: Literal["hex", "base64"] = "hex"


@dataclass(frozen=True, slots=True)
class HttpConfig:
    """The whole of it.

    Attributes:
        allowed_hosts: Names that a Host header may have beside those of loopback.
        base_path: Where a proxy has flowd below its root, like ``/flowd``; empty for nowhere.
        is_source_in_id: CloudEvents are known by source and id, as their specification says, and not by the id alone.
        private: Environment variables that held secrets; steps never see them.
        secret_files: Absolute paths of the files that held secrets.
    """

    address: Address
    access: Access
    limits: Limits
    hooks: Mapping[str, Hook]
    allowed_hosts: frozenset[str] = frozenset()
    private: tuple[str, ...] = ()
    secret_files: tuple[str, ...] = ()
    base_path: str = ""
    is_source_in_id: bool = True
