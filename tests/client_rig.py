"""Every client on every transport behind one blocking face, for suites that hold them to the same behaviour."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, NamedTuple

from daemon_rig import Workspace

from flowd_client import create_async_flow_client, create_flow_client


class Kind(NamedTuple):
    """A transport, and which of the two clients."""

    mode: str
    is_async: bool

    def __str__(self) -> str:
        return f"{self.mode}-{'async' if self.is_async else 'blocking'}"


KINDS = [Kind(mode, is_async) for mode in ("socket", "http", "local") for is_async in (False, True)]


class BlockingFace:
    """An asyncio client whose verbs block, and whose iterators are lists."""

    def __init__(self, runner: asyncio.Runner, client: Any) -> None:
        self._runner = runner
        self._client = client

    def __getattr__(self, name: str) -> Callable[..., Any]:
        async def do(*args: Any, **options: Any) -> Any:
            made = getattr(self._client, name)(*args, **options)
            if isinstance(made, AsyncIterator):
                return [item async for item in made]
            return await made

        return lambda *args, **options: self._runner.run(do(*args, **options))


@contextlib.contextmanager
def opened(kind: Kind, options: dict[str, Any], *, timeout_s: float = 30) -> Iterator[Any]:
    """A client, closed at the end."""
    if not kind.is_async:
        with create_flow_client(kind.mode, timeout_s=timeout_s, **options) as client:  # type: ignore[call-overload]
            yield client
        return
    with asyncio.Runner() as runner:
        client = create_async_flow_client(kind.mode, timeout_s=timeout_s, **options)  # type: ignore[call-overload]
        try:
            yield BlockingFace(runner, client)
        finally:
            runner.run(client.close())


def options_of(kind: Kind, place: Workspace) -> dict[str, Any]:
    """How to reach the engine of a workspace: its daemon runs for all modes but local."""
    if kind.mode == "http":
        return {"base_url": http_url(place)}
    return {"workspace": place.path}


def http_url(place: Workspace) -> str:
    """Where the daemon's HTTP shim listens."""
    where = place.call("daemon.status")["http"]
    text = where[0] if isinstance(where, list) else where
    return text if "://" in text else f"http://{text}"
