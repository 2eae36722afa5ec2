"""Which transport a client gets. The only place that knows them all."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from flowd_client.discovery import find_socket, find_workspace
from flowd_client.errors import UnavailableModeError

if TYPE_CHECKING:
    from flowd_client.aio import AsyncFlowClient
    from flowd_client.client import FlowClient

Mode = Literal["socket", "http", "local"]


def create_flow_client(
    mode: Mode = "socket",
    *,
    workspace: str | Path | None = None,
    socket_path: str | Path | None = None,
    timeout_s: float = 30.0,
) -> "FlowClient":
    """A blocking client. Connects to nothing yet; the first call does.

    Args:
        mode: ``socket`` speaks to the workspace's daemon. ``http`` and ``local`` are not available yet.
        workspace: None finds it from the environment and the working directory.
        socket_path: Overrides what the workspace says.
        timeout_s: Limit of each call; a verb that waits on purpose adds its own time to it.

    Raises:
        UnavailableModeError: This version has no such mode.
    """
    _require_socket(mode)
    from flowd_client.client import FlowClient  # noqa: PLC0415 - each client loads only its own half
    from flowd_client.unix import UnixTransport  # noqa: PLC0415

    return FlowClient(UnixTransport(_socket(workspace, socket_path)), timeout_s=timeout_s)


def create_async_flow_client(
    mode: Mode = "socket",
    *,
    workspace: str | Path | None = None,
    socket_path: str | Path | None = None,
    timeout_s: float = 30.0,
) -> "AsyncFlowClient":
    """As `create_flow_client`, for asyncio. One client belongs to one event loop."""
    _require_socket(mode)
    from flowd_client.aio import AsyncFlowClient  # noqa: PLC0415
    from flowd_client.aio_unix import AsyncUnixTransport  # noqa: PLC0415

    return AsyncFlowClient(AsyncUnixTransport(_socket(workspace, socket_path)), timeout_s=timeout_s)


def _socket(workspace: str | Path | None, socket_path: str | Path | None) -> Path | Callable[[], Path]:
    """The socket, or what finds it anew for each connection: the daemon may take another place after a restart."""
    if socket_path is not None:
        return Path(socket_path).expanduser().absolute()
    root = find_workspace() if workspace is None else Path(workspace).expanduser().absolute()
    return lambda: find_socket(root)


def _require_socket(mode: str) -> None:
    if mode == "socket":
        return
    if mode in ("http", "local"):
        message = f'mode "{mode}" is not available in this version of flowd_client; use mode "socket".'
    else:
        message = f'mode must be "socket", got "{mode}".'
    raise UnavailableModeError(message)
