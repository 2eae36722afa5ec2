"""Tells callers on this machine from those beyond a network or a proxy."""

import ipaddress

from flowd.api.http.asgi import Connection

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
    if any(name in _FORWARDING or name.startswith(b"x-forwarded-") for name, _ in connection["headers"]):
        return False
    text = host(connection)
    if not text:
        return True
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def ends(connection: Connection) -> tuple[tuple[str, int], tuple[str, int]] | None:
    """Our address and port, and those of a caller over TCP that `is_local`; None for all others."""
    server, client = connection.get("server"), connection.get("client")
    if not server or not client or server[1] is None or not is_local(connection):
        return None
    return (str(server[0]), int(server[1])), (str(client[0]), int(client[1]))
