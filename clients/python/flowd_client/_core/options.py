"""What the factories of both clients take, and what they make of it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypedDict, get_args

from flowd_client.discovery import find_socket, find_workspace, rehearsal_socket
from flowd_client.errors import UnavailableModeError

if TYPE_CHECKING:
    import ssl

    from flowd_client._core.http_server import Headers
    from flowd_client._core.local_engine import LocalEngine, OnOutput, State

Mode = Literal["socket", "http", "local"]


class SocketOptions(TypedDict, total=False):
    """Of ``mode="socket"``.

    Attributes:
        workspace: None finds it from the environment and the working directory.
        socket_path: Overrides what the workspace says.
        server_uid: The user whose daemon is trusted, besides this process's own and root.
    """

    workspace: str | Path | None
    socket_path: str | Path | None
    server_uid: int | None


class HttpOptions(TypedDict, total=False):
    """Of ``mode="http"``.

    Attributes:
        base_url: ``http://``, ``https://`` or ``unix:///path``; may have a path, which goes before every route.
        hmac_secret: Signs what is sent.
        signature: ``v1`` signs bodies only, as the reference system does; ``v2`` every request, with its time.
        bearer_token: Sent as ``Authorization: Bearer``. Without any secret, the token that a daemon of ours on this
            machine has left for its port is found and sent.
        api_key: Sent as ``x-api-key``.
        headers: Added to every request; a function is called for each.
        ssl_context: For ``https``; None is Python's default, which verifies.
        server_uid: As for ``socket``, where the URL names a socket.
        retries: How often a request that may safely be repeated is sent again.
    """

    base_url: str
    hmac_secret: str | None
    signature: Literal["v1", "v2"]
    bearer_token: str | None
    api_key: str | None
    headers: "Headers | None"
    ssl_context: "ssl.SSLContext | None"
    server_uid: int | None
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


def socket_place(
    workspace: str | Path | None = None, socket_path: str | Path | None = None
) -> Path | Callable[[], Path]:
    """The socket, or what finds it anew for each connection: the daemon may take another place after a restart."""
    if socket_path is not None:
        return Path(socket_path).expanduser().absolute()
    if workspace is None:
        found = find_workspace()
        return lambda: find_socket(found)
    root = Path(workspace).expanduser().absolute()
    return lambda: find_socket(root, is_named=True)


def rehearsal(mode: Mode, options: Mapping[str, object]) -> Path | None:
    """The socket to speak to instead of what the mode says, in a step that is only tried out; None elsewhere, and for
    an engine of the step's own."""
    keeps_to_itself = mode == "local" and options.get("state", "memory") != "file"
    return None if keeps_to_itself or mode not in get_args(Mode) else rehearsal_socket()


def local_engine(
    workspace: str | Path | None = None,
    state: "State | None" = "memory",
    state_dir: str | Path | None = None,
    env: Mapping[str, str] | None = None,
    on_output: "OnOutput | None" = None,
) -> "tuple[LocalEngine, bool]":
    """The engine, not started yet, and whether a dispatch to it takes as long as its steps."""
    from flowd_client._core.local_engine import open_engine  # noqa: PLC0415 - each mode loads its own

    engine = open_engine(workspace=workspace, state=state, state_dir=state_dir, env=env, on_output=on_output)
    return engine, state is None


def no_such_mode(mode: object) -> UnavailableModeError:
    """What to raise for a mode that is none."""
    return UnavailableModeError(f'mode must be "socket", "http" or "local", got {mode!r}.')
