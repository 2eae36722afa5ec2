"""Keeps strangers on this machine out of an HTTP API that was given no secret."""

import logging
import socket
from dataclasses import replace
from pathlib import Path

from flowd.api.http.config import HttpConfig
from flowd.state import http_token
from flowd_client import discovery

log = logging.getLogger("flowd.api.http")


class LocalAccess:
    """The token that such an API needs, and the file that leads clients to it."""

    def __init__(self, state_dir: Path) -> None:
        """Nothing is made yet."""
        self._path = state_dir / discovery.HTTP_TOKEN
        self._token = ""
        self._port = 0
        self._pointer: Path | None = None
        self._was_missing = False

    def complete(self, config: HttpConfig, listener: socket.socket) -> HttpConfig:
        """The configuration with the token in force, if it needs one.

        Raises:
            StateError: The token cannot be kept.
        """
        name = listener.getsockname()
        # The mode of a Unix socket keeps strangers out already.
        if not config.access.needs_token or not isinstance(name, tuple):
            self._token = ""
            return config
        self._port = name[1]
        self._token = http_token.read_or_make(self._path.parent)
        self._pointer = http_token.point_to(self._path, self._port)
        return replace(config, access=config.access.with_token(self._token))

    def check(self) -> bool:
        """Make both files again where they were removed. Whether another token is in the file and is to be taken.

        Raises:
            OSError: Something is in the way, or the disk is full.
        """
        if not self._token:
            return False
        found = http_token.read(self._path)
        if not found and not self._was_missing:
            self._was_missing = True  # whoever writes another one empties the file first: look again
            return False
        self._was_missing = False
        if not found:
            http_token.write(self._path, self._token)
            log.warning(
                "http token made again", extra={"file": str(self._path), "problem": "it was removed or emptied"}
            )
        if self._pointer is not None and not self._pointer.exists():
            http_token.point_to(self._path, self._port)
        return found not in ("", self._token)

    def close(self) -> None:
        """The port is given up: lead nobody to it any more."""
        if self._pointer is not None:
            self._pointer.unlink(missing_ok=True)
