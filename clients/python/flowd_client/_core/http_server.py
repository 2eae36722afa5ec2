"""Where an HTTP server is, and how to show it who calls."""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from flowd_client import wire
from flowd_client._core.http_plans import Exchange
from flowd_client._core.http_token import LocalToken
from flowd_client._core.signing import signed_v1, signed_v2
from flowd_client.errors import DaemonNotRunningError, UnavailableModeError, invalid_params

if TYPE_CHECKING:
    import ssl

Headers = Mapping[str, str] | Callable[[], Mapping[str, str] | Awaitable[Mapping[str, str]]]
"""Or a function that is called for each request; only the asyncio client takes one that must be awaited."""

DEFAULT_URL = f"http://127.0.0.1:{wire.HTTP_PORT}"


class Server:
    """Where a server is and how to show it who calls. See `flowd_client.factory.HttpOptions`."""

    def __init__(  # noqa: PLR0917 - all by name
        self,
        base_url: str = DEFAULT_URL,
        hmac_secret: str | None = None,
        signature: Literal["v1", "v2"] = "v1",
        bearer_token: str | None = None,
        api_key: str | None = None,
        headers: Headers | None = None,
        ssl_context: "ssl.SSLContext | None" = None,
        retries: int = 2,
        server_uid: int | None = None,
    ) -> None:
        """Check the URL; connect to nothing.

        Raises:
            UnavailableModeError: An option makes no sense.
        """
        parts = urlsplit(base_url)
        self.url = base_url
        self.is_tls = parts.scheme == "https"
        self.unix_path = parts.path if parts.scheme == "unix" else None
        if parts.scheme not in ("http", "https", "unix") or not (self.unix_path or parts.hostname):
            raise UnavailableModeError(
                f"base_url must be like {DEFAULT_URL} or unix:///run/flowd.sock, got {base_url!r}."
            )
        if parts.query or parts.fragment or parts.username is not None:
            raise UnavailableModeError(
                "base_url must have no query, fragment or user name; pass secrets by their options."
            )
        if signature not in ("v1", "v2"):
            raise UnavailableModeError(f'signature must be "v1" or "v2", got {signature!r}.')
        try:
            self.port = parts.port or (443 if self.is_tls else 80)
        except ValueError as error:
            raise UnavailableModeError(f"base_url has no such port: {error}.") from error
        self.host = parts.hostname or "localhost"
        host = "localhost" if self.unix_path else parts.netloc
        self.prefix = "" if self.unix_path else parts.path.rstrip("/")
        self._tls = ssl_context
        self.retries = retries
        self.server_uid = server_uid
        self._secret = None if hmac_secret is None else hmac_secret.encode()
        self._signature = signature
        self._headers = headers
        self._own = {"host": host, "accept": "application/json", "user-agent": "flowd-client"}
        if bearer_token:
            self._own["authorization"] = f"Bearer {bearer_token}"
        if api_key:
            self._own["x-api-key"] = api_key
        is_told = bool(bearer_token or api_key or hmac_secret is not None)
        is_here = not self.is_tls and self.unix_path is None and is_loopback(self.host)
        self._local_token = LocalToken(self.port) if is_here and not is_told else None

    def tls(self) -> "ssl.SSLContext | None":
        """For ``https``, the caller's or Python's default, which verifies; None for the others."""
        if self.is_tls and self._tls is None:
            from ssl import create_default_context  # noqa: PLC0415 - 10 ms

            self._tls = create_default_context()
        return self._tls if self.is_tls else None

    def added_headers(self) -> Mapping[str, str] | Awaitable[Mapping[str, str]]:
        """What the caller adds to the next request."""
        if self._headers is None:
            return {}
        return self._headers() if callable(self._headers) else self._headers

    def is_ours(self) -> bool:
        """Whether a connection that has just been made may be sent the token that we have found ourselves."""
        return self._local_token is not None and self._local_token.is_for_peer()

    def headers(self, request: Exchange, added: Mapping[str, str], *, is_ours: bool) -> dict[str, str]:
        """All headers of a request but Content-Length. To be made anew for each sending: v2 signs once.

        Args:
            is_ours: What the method of this name has said of the connection.
        """
        made = {name.lower(): value for name, value in added.items()} | self._own
        if request.body is not None:
            made["content-type"] = "application/json"
        is_shown = made.keys() & {"authorization", "x-api-key"}
        if self._local_token is not None and is_ours and not is_shown and (token := self._local_token.get()):
            made["authorization"] = f"Bearer {token}"
        if self._secret is not None and self._signature == "v2":
            made |= signed_v2(self._secret, request.verb, self.prefix + request.target, request.body or b"")
        elif self._secret is not None and request.body is not None:
            made |= signed_v1(self._secret, request.body)
        for name, value in made.items():
            if any(character in f"{name}{value}" for character in "\r\n\0"):
                raise invalid_params(f"The header {name!r} has a line break in it.")
        return made


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, whoever asks.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("127.evil.example")
    (True, True, False)
    """
    return host in ("localhost", "::1") or re.fullmatch(r"127(\.[0-9]{1,3}){3}", host) is not None


def unreachable(server: Server, error: BaseException) -> DaemonNotRunningError:
    """What to raise when no connection came about. Nothing was sent."""
    why = getattr(error, "strerror", None) or error
    return DaemonNotRunningError(
        f"Cannot reach {server.url} ({why}). Start a daemon there with `flowd serve --http`.", url=server.url
    )
