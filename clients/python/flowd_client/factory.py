"""Which transport a client gets. The only place that knows them all."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack, overload

from flowd_client.discovery import find_socket, find_workspace
from flowd_client.errors import UnavailableModeError

if TYPE_CHECKING:
    import ssl

    from flowd_client.aio import AsyncFlowClient
    from flowd_client.client import FlowClient
    from flowd_client.http_requests import Headers
    from flowd_client.local import OnOutput, State

Mode = Literal["socket", "http", "local"]


class SocketOptions(TypedDict, total=False):
    """Of ``mode="socket"``.

    Attributes:
        workspace: None finds it from the environment and the working directory.
        socket_path: Overrides what the workspace says.
    """

    workspace: str | Path | None
    socket_path: str | Path | None


class HttpOptions(TypedDict, total=False):
    """Of ``mode="http"``.

    Attributes:
        base_url: ``http://``, ``https://`` or ``unix:///path``; may have a path, which goes before every route.
        hmac_secret: Signs what is sent.
        signature: ``v1`` signs bodies only, as the reference system does; ``v2`` every request, with its time.
        bearer_token: Sent as ``Authorization: Bearer``.
        api_key: Sent as ``x-api-key``.
        headers: Added to every request; a function is called for each.
        ssl_context: For ``https``; None is Python's default, which verifies.
        retries: How often a request that may safely be repeated is sent again.
    """

    base_url: str
    hmac_secret: str | None
    signature: Literal["v1", "v2"]
    bearer_token: str | None
    api_key: str | None
    headers: "Headers | None"
    ssl_context: "ssl.SSLContext | None"
    retries: int


class LocalOptions(TypedDict, total=False):
    """Of ``mode="local"``.

    Attributes:
        workspace: None finds it from the environment and the working directory.
        state: ``memory`` (the default) remembers for the life of the client: runs under way are canceled by `close`.
            ``file`` remembers in the workspace's state folder, and any number of clients may share it; what is under
            way at `close` goes on and is there for the next client or a daemon. None keeps nothing: a dispatch waits
            for its runs and answers with their output, and everything that asks about them is refused.
        state_dir: Where ``file`` keeps its state; None is where a daemon would.
        env: The whole environment of steps; None is this process's. ``{}`` lets them inherit nothing.
        on_output: Called in another thread with run id, stream and text, as dispatched and replayed runs write.
    """

    workspace: str | Path | None
    state: "State | None"
    state_dir: str | Path | None
    env: Mapping[str, str] | None
    on_output: "OnOutput | None"


@overload
def create_flow_client(
    mode: Literal["socket"] = "socket", *, timeout_s: float = 30.0, **options: Unpack[SocketOptions]
) -> "FlowClient": ...
@overload
def create_flow_client(
    mode: Literal["http"], *, timeout_s: float = 30.0, **options: Unpack[HttpOptions]
) -> "FlowClient": ...
@overload
def create_flow_client(
    mode: Literal["local"], *, timeout_s: float = 30.0, **options: Unpack[LocalOptions]
) -> "FlowClient": ...
def create_flow_client(mode: Mode = "socket", *, timeout_s: float = 30.0, **options: Any) -> "FlowClient":
    """A blocking client. Connects to nothing yet; the first call does.

    Args:
        mode: ``socket`` speaks to the workspace's daemon, ``http`` to a daemon by its URL, ``local`` runs flowd's
            engine in this process (the ``codex-flowd`` distribution must be installed). Verbs and views are the same.
        timeout_s: Limit of each call; a verb that waits on purpose adds its own time to it.
        options: Those of the mode: `SocketOptions`, `HttpOptions`, `LocalOptions`.

    Raises:
        UnavailableModeError: There is no such mode, or what it needs is not installed.
        TypeError: The mode has no such option.
    """
    from flowd_client.client import FlowClient  # noqa: PLC0415 - each client loads only its own half

    match mode:
        case "socket":
            from flowd_client.unix import UnixTransport  # noqa: PLC0415

            return FlowClient(UnixTransport(_socket(**options)), timeout_s=timeout_s)
        case "http":
            from flowd_client.http_requests import Server  # noqa: PLC0415
            from flowd_client.http_transport import HttpTransport  # noqa: PLC0415

            return FlowClient(HttpTransport(Server(**options)), timeout_s=timeout_s)
        case "local":
            from flowd_client.local import LocalTransport  # noqa: PLC0415

            return FlowClient(LocalTransport(_local(**options), is_patient=_is_patient(**options)), timeout_s=timeout_s)
        case _:
            raise UnavailableModeError(_no_such(mode))


@overload
def create_async_flow_client(
    mode: Literal["socket"] = "socket", *, timeout_s: float = 30.0, **options: Unpack[SocketOptions]
) -> "AsyncFlowClient": ...
@overload
def create_async_flow_client(
    mode: Literal["http"], *, timeout_s: float = 30.0, **options: Unpack[HttpOptions]
) -> "AsyncFlowClient": ...
@overload
def create_async_flow_client(
    mode: Literal["local"], *, timeout_s: float = 30.0, **options: Unpack[LocalOptions]
) -> "AsyncFlowClient": ...
def create_async_flow_client(mode: Mode = "socket", *, timeout_s: float = 30.0, **options: Any) -> "AsyncFlowClient":
    """As `create_flow_client`, for asyncio. One client belongs to one event loop."""
    from flowd_client.aio import AsyncFlowClient  # noqa: PLC0415

    match mode:
        case "socket":
            from flowd_client.aio_unix import AsyncUnixTransport  # noqa: PLC0415

            return AsyncFlowClient(AsyncUnixTransport(_socket(**options)), timeout_s=timeout_s)
        case "http":
            from flowd_client.aio_http import AsyncHttpTransport  # noqa: PLC0415
            from flowd_client.http_requests import Server  # noqa: PLC0415

            return AsyncFlowClient(AsyncHttpTransport(Server(**options)), timeout_s=timeout_s)
        case "local":
            from flowd_client.aio_local import AsyncLocalTransport  # noqa: PLC0415

            return AsyncFlowClient(
                AsyncLocalTransport(_local(**options), is_patient=_is_patient(**options)), timeout_s=timeout_s
            )
        case _:
            raise UnavailableModeError(_no_such(mode))


def _socket(workspace: str | Path | None = None, socket_path: str | Path | None = None) -> Path | Callable[[], Path]:
    """The socket, or what finds it anew for each connection: the daemon may take another place after a restart."""
    if socket_path is not None:
        return Path(socket_path).expanduser().absolute()
    root = find_workspace() if workspace is None else Path(workspace).expanduser().absolute()
    return lambda: find_socket(root)


def _local(
    workspace: str | Path | None = None,
    state: "State | None" = "memory",
    state_dir: str | Path | None = None,
    env: Mapping[str, str] | None = None,
    on_output: "OnOutput | None" = None,
) -> Any:
    from flowd_client.local import open_engine  # noqa: PLC0415

    return open_engine(workspace=workspace, state=state, state_dir=state_dir, env=env, on_output=on_output)


def _is_patient(state: "State | None" = "memory", **_: Any) -> bool:
    return state is None


def _no_such(mode: object) -> str:
    return f'mode must be "socket", "http" or "local", got {mode!r}.'
