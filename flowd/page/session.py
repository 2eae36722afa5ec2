"""Who a browser is: a cookie that says it, and links that log somebody in once.

The cookie is all there is to a session: who it is of, until when, and an HMAC by a key made of the token that it was
logged in with. So it outlives the daemon, and ends when the token changes.
"""

import base64
import hashlib
import hmac
import secrets
from binascii import Error as Base64Error
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from flowd.api import json
from flowd.api.http.auth import Sender
from flowd.api.http.config import SCOPES, Access, Scope, Token
from flowd.api.http.guard import Headers
from flowd.domain.people import Person

COOKIE = "flowd_session_"
"""Its name begins so. What follows differs from daemon to daemon: a browser keeps cookies by host, and not by port."""

LASTS_MS = 30 * 86_400_000
"""A session; whoever comes after that logs in again."""

LINK_LASTS_MS = 5 * 60_000
"""A link: long enough to be copied to another window, too short to be found."""

_MAX_LINKS = 100
_OF_A_TOKEN, _OF_A_USER = "token", "user"


@dataclass(frozen=True, slots=True)
class _Holder:
    """Somebody who can be logged in, and what makes the key of their sessions."""

    person: Person
    scopes: frozenset[Scope]
    root: bytes


class Sessions:
    """Makes cookies and links, and tells whose they are."""

    def __init__(self, access: Access, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self.take(access)
        self._links: dict[str, tuple[int, Person]] = {}

    def take(self, access: Access) -> None:
        """Let in whom this lets in from now on."""
        self._access = access
        parts = [*(token.digest for token in access.tokens), *access.secrets]
        self._root = hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).digest()
        self.cookie_name = COOKIE + hmac.digest(self._root, b"flowd cookie name", "sha256").hex()[:8]

    def cookie_for(self, token: str) -> str | None:
        """A session for whoever knows this token; None for one that nobody has."""
        digest = hashlib.sha256(token.encode()).digest()
        found: Token | None = None
        for known in self._access.tokens:  # all of them, so that the time does not tell which
            if hmac.compare_digest(known.digest, digest):
                found = known
        return None if found is None else self._made(Person("token", name=found.name), _OF_A_TOKEN)

    def link_key(self, person: Person) -> tuple[str, int]:
        """The secret of a link that logs ``person`` in, once, and until when (Unix milliseconds)."""
        now_ms = self._now_ms()
        self._links = {key: link for key, link in self._links.items() if link[0] > now_ms}
        if len(self._links) >= _MAX_LINKS:
            del self._links[next(iter(self._links))]
        key = secrets.token_urlsafe(24)
        self._links[key] = now_ms + LINK_LASTS_MS, person
        return key, now_ms + LINK_LASTS_MS

    def uid_of(self, link_key: str) -> int | None:
        """The user whom a link is for; None for a link that is none, and where the user is not known."""
        _, person = self._links.get(link_key, (0, Person("http")))
        return person.uid

    def cookie_of(self, link_key: str) -> str | None:
        """The session that a link logs in; None where it has been used, is too old, or never was one."""
        ends_at_ms, person = self._links.pop(link_key, (0, Person("http")))
        return self._made(person, _OF_A_USER) if ends_at_ms > self._now_ms() else None

    def sender(self, headers: Headers) -> Sender | None:
        """Who sends a request, by its cookie, or because nobody has to show anything; None for a stranger."""
        if self._access.is_open:
            return Sender(Person("http"))
        for value in _cookies(headers, self.cookie_name):
            if (holder := self._read(value)) is not None:
                return Sender(holder.person, holder.scopes)
        if self._access.is_read_public:
            return Sender(Person("http"), frozenset({"read"}))
        return None

    def _made(self, person: Person, kind: str) -> str | None:
        holder = self._holder(kind, person.uid, person.name)
        if holder is None:
            return None
        said = [kind, person.uid, person.name, self._now_ms() + LASTS_MS]
        body = base64.urlsafe_b64encode(json.encode(said)).rstrip(b"=")
        return f"{body.decode()}.{_mac(holder.root, body)}"

    def _read(self, value: str) -> _Holder | None:
        body, _, given = value.partition(".")
        said = _decoded(body)
        if said is None:
            return None
        kind, uid, name, ends_at_ms = said
        holder = self._holder(kind, uid, name)
        # As bytes: of text, only ASCII can be compared.
        if holder is None or not hmac.compare_digest(_mac(holder.root, body.encode()).encode(), given.encode()):
            return None
        return holder if ends_at_ms > self._now_ms() else None

    def _holder(self, kind: str, uid: int | None, name: str | None) -> _Holder | None:
        if kind == _OF_A_USER:
            # The user of the control socket, whose link was followed: may do everything, until any secret changes.
            return _Holder(Person("socket", uid, name), frozenset(SCOPES), self._root)
        token = next((token for token in self._access.tokens if token.name == name), None)
        if token is None or kind != _OF_A_TOKEN:
            return None
        return _Holder(Person("token", name=name), token.scopes, token.digest)


def set_cookie(name: str, value: str, *, base_path: str, is_secure: bool) -> str:
    """The header that begins a session; with an empty value, the one that ends it.

    >>> set_cookie("s", "x", base_path="", is_secure=True)
    's=x; Path=/; HttpOnly; SameSite=Strict; Max-Age=2592000; Secure'
    """
    seconds = LASTS_MS // 1000 if value else 0
    secure = "; Secure" if is_secure else ""
    return f"{name}={value}; Path={base_path or '/'}; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}"


def _mac(root: bytes, body: bytes) -> str:
    key = hmac.digest(root, b"flowd page session", "sha256")
    return hmac.digest(key, body, "sha256").hex()


def _decoded(body: str) -> tuple[str, int | None, str | None, int] | None:
    with suppress(ValueError, Base64Error, RecursionError):
        said: Any = json.decode(base64.urlsafe_b64decode(body.encode("ascii") + b"=="))
        match said:
            case [str(kind), int() | None as uid, str() | None as name, int(ends_at_ms)]:
                return kind, uid, name, ends_at_ms
    return None


def _cookies(headers: Headers, wanted: str) -> list[str]:
    """Every value that a request has under a cookie's name."""
    pairs = [pair for name, text in headers if name == b"cookie" for pair in text.decode("latin-1").split(";")]
    found = (pair.strip().partition("=") for pair in pairs)
    return [value for name, _, value in found if name == wanted]
