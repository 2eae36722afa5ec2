"""The engine of ``mode="local"``: it runs in a thread of its own, and any thread may call it."""

import asyncio
import atexit
import contextlib
import logging
import threading
import warnings
import weakref
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from concurrent.futures import Future
from concurrent.futures.thread import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

from flowd.embedded.backends import ENGINE_TASK, NoState, PrivateState, SharedState
from flowd.embedded.callback import CallbackBackend, LocalBackend, OnOutput
from flowd.engine import run_log
from flowd_client import fork
from flowd_client.aio_updates import AsyncUpdateStream
from flowd_client.discovery import find_workspace
from flowd_client.errors import UnavailableModeError

T = TypeVar("T")
State = Literal["memory", "file"] | None

_LEFT_OPEN = "A local flowd client was left open. Close it, or use it as a context manager."

# An engine needs its threads to end well, and `atexit` comes when their pools take nothing any more. What comes before
# is private, but concurrent.futures stands on it, too; it is imported already, and who registers last is called first.
_before_exit: Callable[[Callable[[], None]], object] = getattr(threading, "_register_atexit", atexit.register)


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
        _say_nothing_of_ends()
        root = find_workspace() if workspace is None else Path(workspace).expanduser().absolute()
        folder = None if state_dir is None else Path(state_dir).expanduser().absolute()
        self._state = state
        self._make_backend = partial(_backend, root, state, folder, None if env is None else dict(env), on_output)
        self._is_parents = False
        self._host: _Host | None = None
        self._lock = threading.Lock()
        fork.tell(self)

    def submit(self, method: str, params: Mapping[str, Any]) -> "Future[Any]":
        """Begin a call. Its future raises the `FlowClientError` tree; cancelling it does not undo what was asked.

        Raises:
            UnavailableModeError: This process was forked by the one that has the state.
        """
        with self._lock:
            host = self._open_host()
            return host.run(host.call(method, params))

    def open_stream(self, params: Mapping[str, Any]) -> "Future[HostedStream]":
        """Begin to hear what happens. Its future raises the `FlowClientError` tree. Raises as `submit`."""
        with self._lock:
            host = self._open_host()
            return host.run(host.stream(params))

    def _open_host(self) -> "_Host":
        if self._is_parents:
            raise UnavailableModeError(
                "What this local client remembers is in the process that forked this one. Make a client after the fork,"
                ' or with state="file", which both can share.'
            )
        if self._host is None:
            self._host = _Host(self._make_backend)
            # An engine that nobody can close any more would go on until the process ends, and its steps for longer.
            self._finalizer = weakref.finalize(self, _left_open, self._host)
            self._finalizer.atexit = False
        return self._host

    def close(self) -> None:
        """End what is under way as the kind of state says, and the thread. A later call starts anew."""
        with self._lock:
            self._is_parents = False
            host, self._host = self._host, None
            if host is not None:
                self._finalizer.detach()
                host.close()

    def forked(self) -> None:
        """See `flowd_client.fork.Copied`. The child has no thread of the engine, and begins with one of its own."""
        self._lock = threading.Lock()
        if self._host is not None:
            self._finalizer.detach()
            _of_parents.append(self._host)
            _open.discard(self._host)
            self._is_parents = self._state == "memory"
        self._host = None
        fork.tell(self)


_open: "set[_Host]" = set()
"""What is to be closed before this process ends."""

_of_parents: "list[_Host]" = []
"""Of the process that forked this one. Kept, because nothing of them may be finalised here."""


def _left_open(host: "_Host") -> None:
    """Close what nobody can close any more."""
    # Whatever thread the garbage collector has interrupted cannot wait for steps to end.
    threading.Thread(target=host.close, name="flowd-local-close", daemon=True).start()
    host.is_told = True
    warnings.warn(_LEFT_OPEN, ResourceWarning, stacklevel=2)


def _close_all() -> None:
    for host in tuple(_open):
        host.close()
        if not host.is_told:
            warnings.warn(_LEFT_OPEN, ResourceWarning, stacklevel=2)


def _say_nothing_of_ends() -> None:
    """Whoever asks hears how runs end from the calls. Without a handler, Python would print the bare name of the log
    entry on stderr; a program that has handlers gets all of it, as before."""
    log = logging.getLogger(run_log.LOGGER)
    if not log.handlers:
        log.addHandler(logging.NullHandler())


def _backend(
    workspace: Path, state: State, folder: Path | None, env: Mapping[str, str] | None, on_output: OnOutput | None
) -> LocalBackend:
    backend: LocalBackend
    match state:
        case None:
            return NoState(workspace, env, on_output)
        case "memory":
            backend = PrivateState(workspace, env)
        case "file":
            backend = SharedState(workspace, folder, env)
    return backend if on_output is None else CallbackBackend(backend, on_output)


class _Host:
    """The thread of an engine, its event loop, and the backend that answers there.

    Attributes:
        is_told: Somebody was warned that it was left open.
    """

    def __init__(self, make_backend: Callable[[], LocalBackend]) -> None:
        self._make_backend = make_backend
        self._backend: LocalBackend | None = None
        self._calls: set[asyncio.Task[Any]] = set()
        self.is_told = False
        self._closing = threading.Lock()
        self._loop = asyncio.new_event_loop()
        # One of ours, because to shut down the loop's own takes a thread, which Python starts no more at its exit.
        self._executor = ThreadPoolExecutor(thread_name_prefix="flowd-local")
        self._loop.set_default_executor(self._executor)
        self._thread = threading.Thread(target=_run, args=(self._loop,), name="flowd-local", daemon=True)
        self._thread.start()
        if not _open:
            _before_exit(_close_all)
        _open.add(self)

    def run(self, call: Coroutine[Any, Any, T]) -> "Future[T]":
        return asyncio.run_coroutine_threadsafe(call, self._loop)

    async def call(self, method: str, params: Mapping[str, Any]) -> Any:
        with self._noted() as backend:
            return await backend.call(method, params)

    async def stream(self, params: Mapping[str, Any]) -> "HostedStream":
        with self._noted() as backend:
            return HostedStream(self._loop, await backend.stream(params))

    @contextlib.contextmanager
    def _noted(self) -> Iterator[LocalBackend]:
        task = asyncio.current_task()
        assert task is not None
        self._calls.add(task)
        try:
            if self._backend is None:
                self._backend = self._make_backend()
            yield self._backend
        finally:
            self._calls.discard(task)

    def close(self) -> None:
        """Wait until all has ended. May be called twice, and from any other thread."""
        with self._closing:
            if self not in _open:
                return
            try:
                self.run(self._close()).result()
            finally:
                self._loop.call_soon_threadsafe(self._loop.stop)
                self._thread.join()
                self._executor.shutdown()
                _open.discard(self)

    async def _close(self) -> None:
        await _cancel(self._calls)
        if self._backend is not None:
            await self._backend.close()
        # An engine whose opener was given up ends by itself, and its own tasks must see to it; so those come last.
        await asyncio.gather(*(task for task in asyncio.all_tasks() if task.get_name() == ENGINE_TASK))
        await _cancel(asyncio.all_tasks())
        await asyncio.get_running_loop().shutdown_asyncgens()


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
