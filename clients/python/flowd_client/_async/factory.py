"""Which transport a client gets. The only place that knows them all."""

from typing import TYPE_CHECKING, Any, Literal, Unpack, overload

from flowd_client._core import options as given
from flowd_client._core.options import HttpOptions, LocalOptions, Mode, SocketOptions

if TYPE_CHECKING:
    from flowd_client._async.client import AsyncFlowClient


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
    """A client for asyncio. Connects to nothing yet; the first call does. One client belongs to one event loop.

    Args:
        mode: ``socket`` speaks to the workspace's daemon, ``http`` to a daemon by its URL, ``local`` runs flowd's
            engine in this process (the ``codex-flowd`` distribution must be installed). Verbs and views are the same.
        timeout_s: Limit of each call; a verb that waits on purpose adds its own time to it.
        options: Those of the mode: `SocketOptions`, `HttpOptions`, `LocalOptions`.

    In a step that somebody only tries out (``flowd fire``, ``exec``, ``dev``) what a client would send to a daemon goes
    to who does, in every mode.

    Raises:
        UnavailableModeError: There is no such mode, or what it needs is not installed.
        TypeError: The mode has no such option.
    """
    from flowd_client._async.client import AsyncFlowClient  # noqa: PLC0415 - each client loads only its own half

    if (rehearsal := given.rehearsal(mode, options)) is not None:
        from flowd_client._async.unix import AsyncUnixTransport  # noqa: PLC0415 - each client loads only what it needs

        return AsyncFlowClient(AsyncUnixTransport(rehearsal), timeout_s=timeout_s)
    match mode:
        case "socket":
            from flowd_client._async.unix import AsyncUnixTransport  # noqa: PLC0415

            uid: int | None = options.pop("server_uid", None)
            transport = AsyncUnixTransport(given.socket_place(**options), server_uid=uid)
            return AsyncFlowClient(transport, timeout_s=timeout_s)
        case "http":
            from flowd_client._async.http import AsyncHttpTransport  # noqa: PLC0415
            from flowd_client._core.http_server import Server  # noqa: PLC0415

            return AsyncFlowClient(AsyncHttpTransport(Server(**options)), timeout_s=timeout_s)
        case "local":
            from flowd_client._async.local import AsyncLocalTransport  # noqa: PLC0415

            engine, is_patient = given.local_engine(**options)
            return AsyncFlowClient(AsyncLocalTransport(engine, is_patient=is_patient), timeout_s=timeout_s)
        case _:
            raise given.no_such_mode(mode)
