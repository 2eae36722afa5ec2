"""The engine of ``mode="local"``: it runs in a thread of its own, and any thread may call it."""

import asyncio
import contextlib
import threading
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Literal

from flowd.embedded.backends import ENGINE_TASK, NoState, PrivateState, SharedState
from flowd.embedded.callback import CallbackBackend, LocalBackend, OnOutput
from flowd_client.aio_updates import AsyncUpdateStream
from flowd_client.discovery import find_workspace

State = Literal["memory", "file"] | None


class LocalEngine:
    """Answers calls from an engine in a thread of its own. Implements `flowd_client.local.LocalEngine`.

    May be used from several threads and event loops at once. Nothing is opened before the first call.
    """

    def __init__(
        self,
        *,
        workspace: str | Path | None,
        state: State,
        state_dir: str | Path | None,
        env: Mapping[str, str] | None,
        on_output: OnOutput | None,
    ) -> None:
        """Open nothing yet.

        Args:
            workspace: None finds the enclosing one.
            state: None keeps nothing, ``memory`` for the life of this object, ``file`` for good.
            state_dir: Where ``file`` keeps it; None is where a daemon would.
            env: The whole environment of steps; None is the caller's, less flowd's secrets.
            on_output: Called in the engine's thread with run id, stream and text, as steps write.
        """
        self._workspace = find_workspace() if workspace is None else Path(workspace).expanduser().absolute()
        self._state = state
        self._folder = None if state_dir is None else Path(state_dir).expanduser().absolute()
        self._env = None if env is None else dict(env)
        self._on_output = on_output
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._backend: LocalBackend | None = None
        self._calls: set[asyncio.Task[Any]] = set()

    def submit(self, method: str, params: Mapping[str, Any]) -> "Future[Any]":
        """Begin a call. Its future raises the `FlowClientError` tree; cancelling it does not undo what was asked."""
        with self._lock:
            loop = self._loop or self._start()
            return asyncio.run_coroutine_threadsafe(self._call(method, params), loop)

    def open_stream(self, params: Mapping[str, Any]) -> "Future[HostedStream]":
        """Begin to hear what happens. Its future raises the `FlowClientError` tree."""
        with self._lock:
            loop = self._loop or self._start()
            return asyncio.run_coroutine_threadsafe(self._stream(loop, params), loop)

    def close(self) -> None:
        """End what is under way as the kind of state says, and the thread. A later call starts anew."""
        with self._lock:
            loop, thread = self._loop, self._thread
            if loop is None or thread is None:
                return
            asyncio.run_coroutine_threadsafe(self._close(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            self._loop = self._thread = self._backend = None

    def _start(self) -> asyncio.AbstractEventLoop:
        loop = self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=_run, args=(loop,), name="flowd-local", daemon=True)
        self._thread.start()
        return loop

    async def _call(self, method: str, params: Mapping[str, Any]) -> Any:
        with self._noted():
            return await self._open_backend().call(method, params)

    async def _stream(self, loop: asyncio.AbstractEventLoop, params: Mapping[str, Any]) -> "HostedStream":
        with self._noted():
            return HostedStream(loop, await self._open_backend().stream(params))

    @contextlib.contextmanager
    def _noted(self) -> Iterator[None]:
        task = asyncio.current_task()
        assert task is not None
        self._calls.add(task)
        try:
            yield
        finally:
            self._calls.discard(task)

    def _open_backend(self) -> LocalBackend:
        if self._backend is None:
            self._backend = self._make_backend()
        return self._backend

    def _make_backend(self) -> LocalBackend:
        backend: LocalBackend
        match self._state:
            case None:
                return NoState(self._workspace, self._env, self._on_output)
            case "memory":
                backend = PrivateState(self._workspace, self._env)
            case "file":
                backend = SharedState(self._workspace, self._folder, self._env)
        return backend if self._on_output is None else CallbackBackend(backend, self._on_output)

    async def _close(self) -> None:
        await _cancel(self._calls)
        if self._backend is not None:
            await self._backend.close()
        # An engine whose opener was given up ends by itself, and its own tasks must see to it; so those come last.
        await asyncio.gather(*(task for task in asyncio.all_tasks() if task.get_name() == ENGINE_TASK))
        await _cancel(asyncio.all_tasks())
        loop = asyncio.get_running_loop()
        await loop.shutdown_asyncgens()
        await loop.shutdown_default_executor()


async def _cancel(tasks: Iterable[asyncio.Task[Any]]) -> None:
    others = [task for task in tasks if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


class HostedStream:
    """A stream of the engine's loop, for other threads. Implements `flowd_client.local.LocalUpdates`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, stream: AsyncUpdateStream) -> None:
        self.answer: Any = stream.answer
        self._loop = loop
        self._stream = stream

    def next(self) -> "Future[Mapping[str, Any]]":
        """Begin to wait for the next update; one wait at a time."""
        return asyncio.run_coroutine_threadsafe(_next(self._stream), self._loop)

    def close(self) -> None:
        """End it. May be called twice, and after the engine has ended."""
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._stream.close)


async def _next(stream: AsyncUpdateStream) -> Mapping[str, Any]:
    return await stream.next()


def _run(loop: asyncio.AbstractEventLoop) -> None:
    with contextlib.closing(loop):
        loop.run_forever()
