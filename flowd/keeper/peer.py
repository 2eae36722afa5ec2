"""Tells who is at the other end of a Unix socket. Standard library only."""

import socket
import sys


def peer_uid(connection: socket.socket) -> int | None:
    """The user at the other end, None where the platform does not tell.

    The socket's mode and its folder's keep other users out everywhere; this is second to them.
    """
    try:
        if hasattr(socket, "SO_PEERCRED"):
            credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)  # pid, uid, gid
            return int.from_bytes(credentials[4:8], sys.byteorder)
        # macOS: getsockopt(SOL_LOCAL, LOCAL_PEERCRED) gives a `struct xucred` of a version and the uid, to begin with.
        credentials = connection.getsockopt(0, 1, 76)
        version, uid = credentials[:4], credentials[4:8]
        return None if any(version) or len(uid) < 4 else int.from_bytes(uid, sys.byteorder)
    except OSError:
        return None
