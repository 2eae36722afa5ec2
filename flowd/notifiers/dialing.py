"""Connects to a host on the web: its name is looked up so that nothing waits for it, and the way may be a proxy."""

import asyncio
import socket
import ssl
import threading
from asyncio import StreamReader, StreamWriter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from flowd.notifiers.addresses import WebhookAddress

MAX_HEAD_BYTES = 64 * 1024
_MAX_ADDRESSES = 4


class ProxyError(Exception):
    """The proxy does not let us through."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy as curl understands ``https_proxy``: reached by plain HTTP, and asked to CONNECT."""

    host: str
    port: int


def proxy_for(address: WebhookAddress, environ: Mapping[str, str]) -> Proxy | None:
    """The proxy that the environment names for this address; None for none, and always for ``http://``.

    >>> there = WebhookAddress(True, "chat.example", 443, "/")
    >>> proxy_for(there, {"https_proxy": "http://proxy.example:3128"})
    Proxy(host='proxy.example', port=3128)
    >>> proxy_for(there, {"https_proxy": "proxy.example:3128", "no_proxy": ".example"}) is None
    True
    """
    said = environ.get("https_proxy") or environ.get("HTTPS_PROXY")
    if not said or not address.is_tls:
        return None
    spared = [one.strip().lower() for one in (environ.get("no_proxy") or environ.get("NO_PROXY") or "").split(",")]
    host = f".{address.host.lower()}"
    if any(one == "*" or (one and host.endswith(f".{one.lstrip('.')}")) for one in spared):
        return None
    parts = urlsplit(said if "://" in said else f"http://{said}")
    return None if parts.hostname is None else Proxy(parts.hostname, parts.port or 80)


async def dial(
    address: WebhookAddress, tls: ssl.SSLContext | None, proxy: Proxy | None
) -> tuple[StreamReader, StreamWriter]:
    """Connect. To be called under a timeout.

    Raises:
        OSError: Nobody can be reached, the name is unknown, or TLS does not come about.
        ProxyError: See there.
    """
    name = address.host
    if proxy is None:
        return await _connected(address.host, address.port, tls, name if tls else None)
    reader, writer = await _connected(proxy.host, proxy.port, None, None)
    try:
        where = f"[{name}]:{address.port}" if ":" in name else f"{name}:{address.port}"
        writer.write(f"CONNECT {where} HTTP/1.1\r\nHost: {where}\r\n\r\n".encode())
        await writer.drain()
        head = await reader.readuntil(b"\r\n\r\n")
        if head.split(b" ", 2)[1:2] != [b"200"]:
            line = head.split(b"\r\n", 1)[0].decode("latin-1")[:80]
            raise ProxyError(f"the proxy {proxy.host}:{proxy.port} answered {line!r}")
        if tls is not None:
            await writer.start_tls(tls, server_hostname=name)
    except BaseException:
        writer.close()
        raise
    return reader, writer


async def _connected(
    host: str, port: int, tls: ssl.SSLContext | None, server_name: str | None
) -> tuple[StreamReader, StreamWriter]:
    found = await _looked_up(host, port)
    for number, ip in enumerate(found, 1):
        try:
            # One that does not answer must not take the time of the others.
            async with asyncio.timeout(None if number == len(found) else 3.0):
                return await asyncio.open_connection(
                    ip, port, ssl=tls, server_hostname=server_name, limit=MAX_HEAD_BYTES
                )
        except ssl.SSLError:
            raise
        except (OSError, TimeoutError):
            if number == len(found):
                raise
    raise OSError(f"{host} has no address")


async def _looked_up(host: str, port: int) -> list[str]:
    """Its addresses, in the order of the system. In a thread that nobody waits for in the end: a resolver may hang."""
    loop = asyncio.get_running_loop()
    found: asyncio.Future[list[Any]] = loop.create_future()

    def tell(infos: list[Any], error: OSError | None) -> None:
        if found.done():
            return
        if error is None:
            found.set_result(infos)
        else:
            found.set_exception(error)

    def look() -> None:
        infos: list[Any] = []
        problem: OSError | None = None
        try:
            infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            problem = error
        except UnicodeError as error:
            problem = OSError(str(error))
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(tell, infos, problem)

    threading.Thread(target=look, name="flowd-resolver", daemon=True).start()
    infos = await found
    return list(dict.fromkeys(str(info[4][0]) for info in infos))[:_MAX_ADDRESSES]
