"""Keeps web pages out: whatever a browser loads from elsewhere must not reach flowd.

Three things, each enough against one way in. The Host allow-list: a name that an attacker rebinds to 127.0.0.1 is not
ours. ``Origin`` and ``Sec-Fetch-Site``: browsers say who sends, and pages cannot forge either. JSON as the only
content type: a form or a `no-cors` fetch cannot send it, and there are no CORS headers that would allow more.
"""

import ipaddress
from urllib.parse import urlsplit

from flowd.api.http.responses import HttpError

Headers = list[tuple[bytes, bytes]]

_LOOPBACK_NAMES = frozenset({"localhost", "localhost.localdomain", "ip6-localhost"})


def first(headers: Headers, name: bytes) -> str | None:
    """The first value of a header, None where there is none. Later ones never count."""
    for key, value in headers:
        if key == name:
            return value.decode("latin-1").strip()
    return None


class Guard:
    """Refuses what a page could send."""

    def __init__(self, *, allowed_hosts: frozenset[str], checks_host: bool) -> None:
        """``checks_host`` is off on Unix sockets: no browser opens one, and clients put anything there."""
        self._allowed = allowed_hosts | _LOOPBACK_NAMES
        self._checks_host = checks_host

    def check(self, headers: Headers, *, is_for_page: bool = False) -> None:
        """Let it pass.

        Args:
            is_for_page: It looks at flowd's own page, which does nothing and tells nothing where a link on another
                site has led to it. See `is_followed_link`.

        Raises:
            HttpError: ``host_not_allowed``, ``cross_origin`` or ``bad_request``.
        """
        hosts = [value for key, value in headers if key == b"host"]
        if len(hosts) > 1:
            raise HttpError("bad_request", "The request has more than one Host header.")
        host = hosts[0].decode("latin-1").strip() if hosts else ""
        if self._checks_host:
            self._check_host(host)
        site = first(headers, b"sec-fetch-site")
        is_from_elsewhere = site is not None and site not in ("none", "same-origin")
        if is_from_elsewhere and not (is_for_page and is_followed_link(headers)):
            raise HttpError("cross_origin", "A web page of another origin sent this; flowd takes nothing from pages.")
        origin = first(headers, b"origin")
        if origin is not None and not _is_same(origin, host):
            raise HttpError("cross_origin", "The Origin header names another site; flowd takes nothing from web pages.")

    def _check_host(self, host: str) -> None:
        if not host:
            raise HttpError("bad_request", "The request has no Host header.")
        name = host_name(host)
        # An address cannot be rebound, only a name can.
        if name is None or not (name in self._allowed or _is_address(name)):
            raise HttpError(
                "host_not_allowed",
                f"This daemon does not serve the host {host[:100]!r}. "
                f"If it should, add the name to [http] allowed_hosts in flowd.toml.",
            )


def is_followed_link(headers: Headers) -> bool:
    """Whether somebody has followed a link on another site: a whole page of the browser is to show what comes, and the
    other site sees nothing of it."""
    site, mode, kind = (first(headers, b"sec-fetch-" + name) for name in (b"site", b"mode", b"dest"))
    return site in ("cross-site", "same-site") and mode == "navigate" and kind == "document"


def host_name(host: str) -> str | None:
    """The name in a Host header, lower-case and without its port; None where there is none.

    >>> host_name("LocalHost:80"), host_name("[::1]:80"), host_name("a@b"), host_name("x:y")
    ('localhost', '::1', None, None)
    """
    try:
        parts = urlsplit(f"//{host}")
        port = parts.port
    except ValueError:
        return None
    del port
    if "@" in host or "/" in host or parts.hostname is None:
        return None
    return parts.hostname.rstrip(".")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_same(origin: str, host: str) -> bool:
    scheme, separator, rest = origin.partition("://")
    return bool(separator) and scheme in ("http", "https") and bool(host) and rest.lower() == host.lower()
