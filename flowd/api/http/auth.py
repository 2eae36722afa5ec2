"""Checks who is calling: signatures of the body (v1) or of the whole request (v2), and bearer tokens with scopes.

v1 is the reference system's: ``x-flow-signature-256: sha256=<hex HMAC-SHA256 of the body>``. It says nothing of the
path, the headers or the time, so whoever catches one request can send its body anywhere, at any time. An event's id
makes that harmless; for replay, whatever needs the scope ``control``, and what has its id in a header, v1 counts from
this machine only. v2 signs these five lines, joined by newlines::

    METHOD
    /path?query        as sent, percent-encoding included
    TIMESTAMP          x-flow-timestamp, Unix seconds
    NONCE              x-flow-nonce, 16 to 128 of A-Z a-z 0-9 . _ ~ + / = -
    SHA256(body)       lower-case hex

and goes into ``x-flow-signature-v2: sha256=<hex HMAC-SHA256>``. The timestamp must be within the window, and a nonce
counts once: it is remembered on disk until the window has passed it.
"""

import hashlib
import hmac
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from flowd.api.http.config import LOCAL_TOKEN, SCOPES, Access, Scope, Token
from flowd.api.http.guard import Headers, first
from flowd.api.http.responses import HttpError
from flowd.domain.people import Person

V1_HEADERS = (b"x-flow-signature-256", b"x-patch-flow-signature-256")
"""The first that is there counts, right or wrong."""

V2_HEADER = b"x-flow-signature-v2"
_NONCE = re.compile(r"[A-Za-z0-9._~+/=-]{16,128}")
_CHALLENGE = {"www-authenticate": "Bearer"}

_NEEDS_LOCAL_TOKEN = (
    f"This needs the daemon's token, as Authorization: Bearer TOKEN. It is in the file {LOCAL_TOKEN} of the state "
    "folder (.codex/flowd), where flowd's clients find it. To let everybody on this machine in, start flowd serve "
    "with --http-open, or set open = true under [http] in .codex/flowd.toml."
)

RememberNonce = Callable[[str, int, int], Awaitable[bool]]
"""``(nonce, now_ms, expires_at_ms)`` → whether it is new. Returns once that is on disk."""


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sends a request, as far as it says, and all that they may do."""

    person: Person
    scopes: frozenset[Scope] = frozenset(SCOPES)

    def demand(self, scope: Scope) -> None:
        """Refuse what they may not do: for what only the body tells.

        Raises:
            HttpError: ``missing_scope``.
        """
        if scope not in self.scopes:
            raise _missing(scope, self.person.name or "")


class Authenticator:
    """Decides for each request whether its sender may do what it asks."""

    def __init__(
        self, access: Access, remember_nonce: RememberNonce, session: Callable[[Headers], Sender | None] | None = None
    ) -> None:
        """``session`` tells whose session the cookie of a request is."""
        self._access = access
        self._session = session
        self._remember = remember_nonce

    def take(self, access: Access) -> None:
        """Decide by this from now on."""
        self._access = access

    def admit(self, scope: Scope, headers: Headers, *, takes_session: bool = False) -> Sender | None:
        """Decide by the headers alone, before the body is read.

        Args:
            takes_session: The cookie of a session counts, where nothing else is shown.

        Returns:
            Who may do it. None: `check` has to look at the signature.

        Raises:
            HttpError: ``invalid_signature``, ``unauthorized`` or ``missing_scope``: nothing in the body could help.
        """
        access = self._access
        if access.is_open:
            return Sender(Person("http"))
        if scope == "read" and access.is_read_public:
            return Sender(Person("http"), frozenset({"read"}))
        if access.secrets and self._signature(headers) is not None:
            return None
        token = self._token(headers)
        if token is None:
            visitor = self._session(headers) if takes_session and self._session is not None else None
            if visitor is None:
                raise self._stranger()
            visitor.demand(scope)
            return visitor
        if scope not in token.scopes:
            raise _missing(scope, token.name)
        return _holder(token)

    async def check(
        self,
        scope: Scope,
        *,
        method: str,
        targets: Sequence[bytes],
        headers: Headers,
        body: bytes,
        is_v1_enough: bool,
    ) -> Sender:
        """Let a signed request pass, and say whose it is, or refuse it. A wrong signature is refused even beside a good
        token.

        Args:
            targets: Path and query as sent; several where a proxy may have changed them.
            is_v1_enough: The request may come again, or cannot come from elsewhere.

        Raises:
            HttpError: ``invalid_signature``, ``stale_signature``, ``nonce_reused``, ``unauthorized`` or
                ``missing_scope``.
        """
        kind, given = self._signature(headers) or ("", "")
        if kind == "v2":
            await self._check_v2(given, method, targets, headers, body)
        # A GET has no body to sign, and v1 signs nothing else: the signature of nothing opens nothing.
        elif method in ("GET", "HEAD") or not _fits(given, self._access.secrets, body):
            raise HttpError("invalid_signature", "invalid signature")
        is_enough = kind == "v2" or is_v1_enough or self._access.is_v1_enough
        token = self._token(headers)
        if token is not None and scope in token.scopes:
            sender = _holder(token)
            return Sender(sender.person) if is_enough else sender
        if not is_enough:
            raise HttpError(
                "invalid_signature",
                "A v1 signature signs the body only, and whoever has seen it can send it again: for all but a dispatch "
                "and for a CloudEvent in headers it counts from this machine only, without a proxy. Sign as v2 "
                '([http] signatures = "both"), send a token, or set [http] allow_replayed_v1 = true.',
            )
        return Sender(Person("signature"))

    def _stranger(self) -> HttpError:
        access = self._access
        if access.secrets and not access.tokens:
            return HttpError("invalid_signature", "invalid signature", headers=_CHALLENGE)
        if any(token.name == LOCAL_TOKEN for token in access.tokens):
            return HttpError("unauthorized", _NEEDS_LOCAL_TOKEN, headers=_CHALLENGE)
        return HttpError(
            "unauthorized",
            "This needs a token of flowd.toml, as Authorization: Bearer TOKEN or X-Api-Key: TOKEN"
            + (", or a signature." if access.secrets else "."),
            headers=_CHALLENGE,
        )

    def _signature(self, headers: Headers) -> tuple[Literal["v1", "v2"], str] | None:
        """The signature that counts, right or wrong; None where there is none."""
        kinds = self._access.signatures
        if kinds != "v1" and (given := first(headers, V2_HEADER)) is not None:
            return "v2", given
        if kinds == "v2":
            return None
        found = (value for value in (first(headers, name) for name in V1_HEADERS) if value is not None)
        return next((("v1", value) for value in found), None)

    async def _check_v2(self, given: str, method: str, targets: Sequence[bytes], headers: Headers, body: bytes) -> None:
        timestamp, nonce = first(headers, b"x-flow-timestamp") or "", first(headers, b"x-flow-nonce") or ""
        if not timestamp.isascii() or not timestamp.isdigit() or len(timestamp) > 12 or not _NONCE.fullmatch(nonce):
            raise HttpError("invalid_signature", "invalid signature")
        # What is signed is checked first: only a holder of the secret gets to write nonces, or to learn our clock.
        texts = (signed_text(method, target, timestamp, nonce, body) for target in targets)
        if not any(_fits(given, self._access.secrets, text) for text in texts):
            checked = f"{method} {targets[-1][:500].decode('latin-1')}"
            raise HttpError(
                "invalid_signature",
                f"The signature is not that of {checked!r} with this body, which is how the request came. Where a "
                f"proxy has changed the path, set [http] base_path.",
                checked=checked,
            )
        now_ms = time.time_ns() // 1_000_000  # the sender's clock is a wall clock, too
        window_ms = self._access.window_s * 1000
        at_ms = int(timestamp) * 1000
        if abs(now_ms - at_ms) > window_ms:
            raise HttpError(
                "stale_signature",
                f"The timestamp is more than {self._access.window_s} s from the daemon's clock. Check both clocks.",
            )
        if not await self._remember(nonce, now_ms, at_ms + window_ms + 1000):
            raise HttpError(
                "nonce_reused", "A request with this nonce came before. Each request needs a nonce of its own."
            )

    def _token(self, headers: Headers) -> Token | None:
        if not self._access.tokens:
            return None
        given = first(headers, b"x-api-key")
        authorization = first(headers, b"authorization")
        if authorization is not None and authorization[:7].lower() == "bearer ":
            given = authorization[7:].strip()
        if not given:
            return None
        digest = hashlib.sha256(given.encode("latin-1")).digest()
        found: Token | None = None
        for token in self._access.tokens:  # all of them, so that the time does not tell which
            if hmac.compare_digest(token.digest, digest):
                found = token
        return found


def signed_text(method: str, target: bytes, timestamp: str, nonce: str, body: bytes) -> bytes:
    """What a v2 signature is made of.

    >>> signed_text("POST", b"/events", "1", "n", b"")[:24]
    b'POST\\n/events\\n1\\nn\\ne3b0c4'
    """
    digest = hashlib.sha256(body).hexdigest()
    return b"\n".join((method.encode(), target, timestamp.encode(), nonce.encode(), digest.encode()))


def _holder(token: Token) -> Sender:
    return Sender(Person("token", name=token.name), token.scopes)


def _missing(scope: Scope, token_name: str) -> HttpError:
    return HttpError("missing_scope", f"The token {token_name!r} has no scope {scope!r}.", scope=scope)


def _fits(given: str, secrets: Iterable[bytes], text: bytes) -> bool:
    prefix, _, digits = given.partition("=")
    value = f"{prefix}={digits.lower()}".encode("latin-1")
    fits = False
    for secret in secrets:
        expected = b"sha256=" + hmac.digest(secret, text, "sha256").hex().encode()
        fits |= hmac.compare_digest(expected, value)
    return fits
