"""Which daemon the screen shows, and how it is reached: by its socket, or over HTTP."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from flowd.cli.exits import CommandError
from flowd.cli.session import Session
from flowd_client import create_async_flow_client
from flowd_client.aio import AsyncFlowClient
from flowd_client.aio_unix import AsyncUnixTransport

RESPONSE_S = 30.0
"""How long the daemon may take for a response that waits for nothing on purpose."""


@dataclass(frozen=True)
class DaemonLink:
    """A way to a daemon.

    Attributes:
        place: Where it is, for people: its URL or its workspace.
        connect: Makes a client, which belongs to the event loop that it is first used in.
    """

    place: str
    connect: Callable[[], AsyncFlowClient]

    async def require_daemon(self) -> None:
        """Return if there is a daemon that answers us.

        Raises:
            FlowClientError: Any of its tree.
        """
        async with self.connect() as client:
            await client.status()


def to_socket(session: Session) -> DaemonLink:
    """To the daemon of the session's workspace, by its socket."""
    path = session.socket_path  # says at once what is wrong with the workspace
    place = str(path) if session.chosen_socket else str(session.place)
    return DaemonLink(
        place, lambda: AsyncFlowClient(AsyncUnixTransport(lambda: session.socket_path), timeout_s=RESPONSE_S)
    )


def to_url(url: str, token_file: Path | None) -> DaemonLink:
    """To a daemon by its URL. Without a token, the one is sent that a daemon of ours on this machine has left.

    Raises:
        CommandError: The token cannot be read.
        UnavailableModeError: The URL is none.
    """
    token = None if token_file is None else _first_line(token_file)
    create_async_flow_client("http", base_url=url)  # checks it, and connects to nothing
    return DaemonLink(
        url, lambda: create_async_flow_client("http", base_url=url, bearer_token=token, timeout_s=RESPONSE_S)
    )


def _first_line(file: Path) -> str:
    try:
        lines = file.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeError) as error:
        raise CommandError(f"The token cannot be read from {file}: {error}.") from error
    if not (token := lines[0].strip()):
        raise CommandError(f"{file} has no token in its first line.")
    return token
