"""Tells callers on this machine from those beyond a network or a proxy."""

import ipaddress

from flowd.api.http.asgi import Connection
from flowd.api.http.guard import Headers

_FORWARDING = (b"forwarded", b"via", b"x-real-ip")
"""With ``x-forwarded-…``: headers with which a proxy says that somebody else sent this."""


def host(connection: Connection) -> str:
    """The caller's address; empty on a Unix socket."""
    client = connection.get("client")
    return str(client[0]) if client else ""


def is_local(connection: Connection) -> bool:
    """Whether the caller is a program on this machine that speaks for itself.

    >>> is_local({"client": ("::ffff:127.0.0.1", 5), "headers": []}), is_local({"client": None, "headers": []})
    (True, True)
    >>> is_local({"client": ("127.0.0.1", 5), "headers": [(b"x-forwarded-for", b"10.0.0.1")]})
    False
    """
    if is_forwarded(connection["headers"]):
        return False
    text = host(connection)
    return not text or is_loopback(text)


def is_forwarded(headers: Headers) -> bool:
    """Whether a proxy says that somebody else sent this."""
    return any(name in _FORWARDING or name.startswith(b"x-forwarded-") for name, _ in headers)


def is_loopback(text: str) -> bool:
    """Whether only this machine has the address."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def ends(connection: Connection) -> tuple[tuple[str, int], tuple[str, int]] | None:
    """Our address and port, and the caller's, whatever its headers say; None where it does not come over TCP."""
    server, client = connection.get("server"), connection.get("client")
    if not server or not client or server[1] is None:
        return None
    return (str(server[0]), int(server[1])), (str(client[0]), int(client[1]))
