"""Finds the token of a daemon on this machine that was given no secret: see ``[http]`` in docs/http.md."""

import os
from pathlib import Path
from time import monotonic

from flowd_client import discovery

_LOOK_S = 1.0
"""For so long a found token is sent without another look."""


class LocalToken:
    """The token for a port of this machine, looked for again from time to time: a daemon may come later."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._token = ""
        self._until_s = 0.0

    def get(self) -> str:
        """The token, or nothing: no daemon of ours has left one. To be sent on a connection `is_own_port` allows."""
        now_s = monotonic()
        if now_s >= self._until_s:
            self._token = self._find()
            self._until_s = now_s + _LOOK_S if self._token else 0.0
        return self._token

    def is_for_peer(self) -> bool:
        """Whether the token may be sent on a connection that has just been made. To ask before would say nothing: a
        port that a daemon has left can be another user's a moment later."""
        return is_own_port(self._port)

    def _find(self) -> str:
        for folder in filter(discovery.is_own, discovery.runtime_folders()):
            place = _read(folder / discovery.http_pointer(self._port))
            if place and (token := _read(Path(place))):
                return token
        return _read(discovery.state_dir(discovery.find_workspace()) / discovery.HTTP_TOKEN)


def is_own_port(port: int) -> bool:
    """Whether nobody but us and root listens there, as far as the platform tells: the token is sent to no stranger.

    Who has accepted a connection and stopped to listen counts as well.
    """
    owners: set[int] = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table, encoding="ascii") as file:
                lines = file.readlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if len(fields) > 7 and int(fields[1].rpartition(":")[2], 16) == port:
                owners.add(int(fields[7]))
    return owners <= {0, os.geteuid()}


def _read(path: Path) -> str:
    """The first line of a file of ours; empty where there is none."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(fd, "rb") as file:
            status = os.fstat(fd)
            if status.st_uid != os.geteuid() or status.st_mode & 0o022:
                return ""
            return file.readline(4096).decode("utf-8", "surrogateescape").strip()
    except OSError:
        return ""
