"""The address of a webhook: what it may be, and what of it may be shown."""

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class WebhookAddress:
    """Where a webhook is.

    Attributes:
        host: A name, or an IP address without brackets.
        target: Path and query, as they are sent.
    """

    is_tls: bool
    host: str
    port: int
    target: str

    @property
    def authority(self) -> str:
        """Host and port as they are sent, without the port that is meant anyway.

        >>> WebhookAddress(True, "::1", 443, "/").authority, WebhookAddress(False, "localhost", 8080, "/").authority
        ('[::1]', 'localhost:8080')
        """
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.is_tls else 80) else f"{host}:{self.port}"

    @property
    def shown(self) -> str:
        """For people: where it goes, and nothing that lets anybody post there."""
        return f"{'https' if self.is_tls else 'http'}://{self.authority}/…"


def read_address(url: str, *, allow_http: bool = False) -> WebhookAddress:
    """A URL, checked. The messages hold nothing of it.

    >>> read_address("https://chat.example/hooks/1?a=b")
    WebhookAddress(is_tls=True, host='chat.example', port=443, target='/hooks/1?a=b')

    Raises:
        ValueError: It cannot be used; the message goes on after what it is called: ``must …``.
    """
    if not url.isascii() or any(char <= " " or char == "\x7f" for char in url):
        raise ValueError("must be a URL of ASCII characters without spaces")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError("must be a URL such as https://chat.example/hooks/1") from None
    if parts.scheme not in ("https", "http") or not host:
        raise ValueError("must be a URL such as https://chat.example/hooks/1")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must have no user and password in it")
    if parts.scheme == "http" and not allow_http and not _is_loopback(host):
        raise ValueError("must begin with https://, as others could read it on its way; allow_http = true accepts that")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    is_tls = parts.scheme == "https"
    return WebhookAddress(is_tls, host, port or (443 if is_tls else 80), target)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
