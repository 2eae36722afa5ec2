"""Opens the socket that HTTP is served on, or takes the one that systemd holds."""

import errno
import os
import socket
from pathlib import Path

from flowd.api.http.config import DEFAULT_PORT, HttpConfig, PassedAddress, TcpAddress, UnixAddress
from flowd.domain.errors import NotYetError, StateError
from flowd.observe import listenfds
from flowd.state.sockets import bind


def listen_for_http(config: HttpConfig) -> socket.socket:
    """A socket to listen on. Nothing is accepted yet.

    Raises:
        NotYetError: The address is taken or is none of this machine's, which may change by itself.
        StateError: Strangers could reach it and nothing would keep them out, or it cannot be listened at. The message
            has the remedy.
    """
    address = config.address
    match address:
        case PassedAddress():
            listener = _passed(address.name)
            if config.access.is_open and not _is_private(listener):
                listener.close()
                raise StateError(
                    f"systemd's socket {address.name!r} faces the network, and anybody there could start processes "
                    f"here. Set FLOWD_HTTP_SECRET_FILE or [http.tokens], or ListenStream=127.0.0.1:{DEFAULT_PORT}."
                )
        case UnixAddress():
            listener = bind(Path(address.path), remedy="choose another path")
        case TcpAddress():
            listener = _tcp(address)
    listener.setblocking(False)  # noqa: FBT003
    return listener


def _tcp(address: TcpAddress) -> socket.socket:
    host = "127.0.0.1" if address.host == "localhost" else address.host
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(host, address.port, type=socket.SOCK_STREAM)[0]
        return _held_by_systemd(where) or _bind_tcp(socket.socket(family, kind, protocol), where)
    except OSError as error:
        may_come = error.errno in (errno.EADDRNOTAVAIL, errno.EADDRINUSE) or isinstance(error, socket.gaierror)
        raise (NotYetError if may_come else StateError)(
            f"Cannot listen on http://{address}: {error.strerror}. Choose another address with --http HOST:PORT, "
            f"or look who has this one: ss -ltnp 'sport = :{address.port}'."
        ) from error


def _bind_tcp(listener: socket.socket, where: object) -> socket.socket:
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)  # type: ignore[arg-type]
    except OSError:
        listener.close()
        raise
    return listener


def _held_by_systemd(where: object) -> socket.socket | None:
    """The socket of this very address among those that were passed: it is kept over restarts, and so not free."""
    for descriptors in listenfds.passed().values():
        for fd in descriptors:
            listener = socket.socket(fileno=os.dup(fd))
            if listener.family != socket.AF_UNIX and listener.getsockname() == where:
                return listener
            listener.close()
    return None


def _passed(name: str) -> socket.socket:
    descriptors = listenfds.passed().get(name)
    if not descriptors:
        raise StateError(f"systemd passed no socket named {name!r}. Its unit needs FileDescriptorName={name}.")
    return socket.socket(fileno=os.dup(descriptors[0]))


def _is_private(listener: socket.socket) -> bool:
    name = listener.getsockname()
    return not isinstance(name, tuple) or TcpAddress(name[0], name[1]).is_loopback
