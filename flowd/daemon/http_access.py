"""Keeps strangers on this machine out of an HTTP API that was given no secret."""

import socket
from dataclasses import replace
from pathlib import Path

from flowd.api.http.config import HttpConfig
from flowd.state import http_token
from flowd_client import discovery


def local_access(config: HttpConfig, listener: socket.socket, state_dir: Path) -> tuple[HttpConfig, Path | None]:
    """The configuration with the token that it needs, if any, and the file that leads clients to the token.

    Raises:
        StateError: The token cannot be kept.
    """
    name = listener.getsockname()
    # The mode of a Unix socket keeps strangers out already.
    if not config.access.needs_token or not isinstance(name, tuple):
        return config, None
    access = config.access.with_token(http_token.read_or_make(state_dir))
    return replace(config, access=access), http_token.point_to(state_dir / discovery.HTTP_TOKEN, name[1])
