"""The three backends of local mode: no state, state in a private folder, and state in a shared folder."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from flowd.domain.errors import StateError
from flowd.embedded import methods
from flowd.embedded.callback import CallbackBackend, LocalBackend, OnOutput
from flowd.embedded.listening import listening
from flowd.embedded.methods import LocalMethods
from flowd.embedded.running import private_settings, running
from flowd.embedded.streaming import EngineStream
from flowd.settings import sources as settings_sources
from flowd.settings.values import Settings
from flowd.state import folder as state_folder
from flowd.state import sockets
from flowd.state.lock import Lock, LockedError
from flowd_client import discovery, wire
from flowd_client.aio_unix import AsyncUnixTransport
from flowd_client.aio_updates import AsyncUpdateStream as UpdateStream
from flowd_client.errors import (
    ConnectionLostError,
    DaemonNotRunningError,
    DaemonRunningError,
    LocalFlowClientUnsupportedStateError,
)

_RETRY_PAUSE_S = 0.05
"""Between looks at a state folder that another client is about to open or to leave."""

ENGINE_TASK = "flowd-local-engine"
"""Tasks of this name end by themselves, and must not be cancelled."""

_OPERATIONS = {
    wire.REPLAY: "replayEvent",
    wire.CANCEL_RUN: "cancelRun",
    wire.CANCEL_EVENT: "cancelEvent",
    wire.RETRY_RUN: "retryRun",
    wire.RESOLVE_RUN: "resolveRun",
    wire.ANSWER_RUN: "answerRun",
    wire.ATTENTION: "attention",
    wire.QUEUE: "queue",
    wire.PAUSE: "pause",
    wire.RESUME_FLOWS: "resume",
    wire.PARALLEL: "parallel",
    wire.SCHEDULES: "schedules",
    wire.WATCHES: "watches",
    wire.HOSTS: "hosts",
    wire.DRAIN_HOST: "drainHost",
    wire.UNDRAIN_HOST: "undrainHost",
    wire.FORGET_HOST: "forgetHost",
    wire.NOTICES: "notices",
    wire.RETRY_NOTICE: "retryNotice",
    wire.TEST_NOTIFIER: "testNotifier",
    wire.LIST_EVENTS: "listEvents",
    wire.GET_EVENT: "getEvent",
    wire.LIST_RUNS: "listRuns",
    wire.GET_RUN: "getRun",
    wire.WAIT_RUN: "waitRun",
    wire.WAIT_EVENT: "waitEvent",
    wire.READ_OUTPUT: "readOutput",
    wire.SUBSCRIBE: "subscribe",
}
"""What needs state, by the names of the reference system's client."""


class _Engine:
    """An engine that is opened by the first call and closed in the task that opened it, as task groups want it."""

    def __init__(self, block: "contextlib.AbstractAsyncContextManager[LocalMethods]") -> None:
        self._block = block
        self._is_over = asyncio.Event()
        self._local: LocalMethods | None = None
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        ready = asyncio.get_running_loop().create_future()
        ready.add_done_callback(lambda done: done.exception())  # seen, also when nobody waits for it any more
        self._task = asyncio.create_task(self._live(ready), name=ENGINE_TASK)
        try:
            self._local = await asyncio.shield(ready)
        except asyncio.CancelledError:
            # Half open it cannot be left, nor be torn down halfway: it ends by itself once it is open.
            self._is_over.set()
            raise

    async def _live(self, ready: "asyncio.Future[LocalMethods]") -> None:
        try:
            async with self._block as local:
                ready.set_result(local)
                await self._is_over.wait()
        except BaseException as error:
            if ready.done():
                raise
            ready.set_exception(_innermost(error))

    async def call(self, method: str, params: Mapping[str, Any]) -> Any:
        assert self._local is not None
        return await methods.call(self._local.methods, method, params)

    async def stream(self, params: Mapping[str, Any]) -> UpdateStream:
        assert self._local is not None
        stream = EngineStream(self._local.subscriptions)
        await stream.begin(params)
        return stream

    async def close(self) -> None:
        self._is_over.set()
        if self._task is not None:
            await self._task


def _innermost(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


@contextlib.asynccontextmanager
async def _private(workspace: Path, env: Mapping[str, str] | None) -> AsyncIterator[LocalMethods]:
    with private_settings(workspace) as settings:
        async with running(settings, step_environ=env) as parts:
            yield methods.local_methods(parts, settings)


class NoState:
    """Every dispatch has an engine of its own, which is gone when its runs have ended. Nothing is deduplicated."""

    def __init__(self, workspace: Path, env: Mapping[str, str] | None, on_output: OnOutput | None) -> None:
        self._workspace = workspace
        self._env = env
        self._on_output = on_output

    async def call(self, method: str, params: Mapping[str, Any]) -> Any:
        """As `LocalBackend.call`. A dispatch always waits for its runs: nobody could ask for them later.

        Raises:
            LocalFlowClientUnsupportedStateError: The call needs state.
        """
        if method in _OPERATIONS:
            raise LocalFlowClientUnsupportedStateError(_OPERATIONS[method])
        engine = _Engine(_private(self._workspace, self._env))
        with methods.as_clients_see_them(method):
            await engine.open()
        try:
            if method != wire.DISPATCH:
                return await engine.call(method, params)
            backend = engine if self._on_output is None else CallbackBackend(engine, self._on_output)
            return await self._run_to_end(backend, methods.plain(method, params))
        finally:
            await asyncio.shield(engine.close())

    async def _run_to_end(self, backend: LocalBackend, given: dict[str, Any]) -> Any:
        # All of the tree: what its runs cause ends with this engine, too.
        response = await backend.call(wire.DISPATCH, {**given, "wait": True, "tree": True})
        # With their output, which nobody can ask for later.
        runs = [(await backend.call(wire.GET_RUN, {"runId": run_id}))["run"] for run_id in response["runIds"]]
        return {**response, "runs": runs}

    async def stream(self, _: Mapping[str, Any]) -> UpdateStream:
        """As `LocalBackend.stream`: refused."""
        raise LocalFlowClientUnsupportedStateError(_OPERATIONS[wire.SUBSCRIBE])

    async def close(self) -> None:
        """As `LocalBackend.close`."""


class PrivateState:
    """A state folder of the client's own, in the temporary directory, for as long as the client lives."""

    def __init__(self, workspace: Path, env: Mapping[str, str] | None) -> None:
        self._workspace = workspace
        self._env = env
        self._engine: _Engine | None = None
        self._opening = asyncio.Lock()

    async def call(self, method: str, params: Mapping[str, Any]) -> Any:
        """As `LocalBackend.call`."""
        return await (await self._open(method)).call(method, params)

    async def stream(self, params: Mapping[str, Any]) -> UpdateStream:
        """As `LocalBackend.stream`."""
        return await (await self._open(wire.SUBSCRIBE)).stream(params)

    async def _open(self, method: str) -> _Engine:
        async with self._opening:
            if self._engine is None:
                engine = _Engine(_private(self._workspace, self._env))
                with methods.as_clients_see_them(method):
                    await engine.open()
                self._engine = engine
            return self._engine

    async def close(self) -> None:
        """As `LocalBackend.close`. Runs under way are canceled, and everything is forgotten."""
        engine, self._engine = self._engine, None
        if engine is not None:
            await engine.close()


class SharedState:
    """A state folder that outlives the client and that any number of clients may share.

    The first one takes the daemon's lock, runs the engine and listens on the folder's socket; the others speak to it
    there. When it leaves, its queued and running runs go on with whoever takes the lock next: another client at its
    next call, or a daemon. A running step lives on with the keeper meanwhile, for ``orphan_grace_s`` at most.
    """

    def __init__(self, workspace: Path, folder: Path | None, env: Mapping[str, str] | None) -> None:
        self._workspace = workspace
        self._folder = folder
        self._env = env
        self._engine: _Engine | None = None
        self._peer: AsyncUnixTransport | None = None
        self._opening = asyncio.Lock()

    async def call(self, method: str, params: Mapping[str, Any]) -> Any:
        """As `LocalBackend.call`.

        Raises:
            DaemonRunningError: A daemon serves this folder; ``data["socket"]`` is where.
        """
        while True:
            with methods.as_clients_see_them(method):
                engine, peer = await self._engine_or_peer()
            if engine is not None:
                return await engine.call(method, params)
            assert peer is not None
            try:
                return await peer.call(method, params, timeout_s=None)
            except DaemonNotRunningError:
                await self._leave(peer)  # It left before it was asked: its place is free.
            except ConnectionLostError:
                await self._leave(peer)
                if method not in wire.RETRY_SAFE:
                    raise

    async def stream(self, params: Mapping[str, Any]) -> UpdateStream:
        """As `LocalBackend.stream`. Ends when the owning client leaves; another can go on from its cursor."""
        while True:
            with methods.as_clients_see_them(wire.SUBSCRIBE):
                engine, peer = await self._engine_or_peer()
            if engine is not None:
                return await engine.stream(params)
            assert peer is not None
            try:
                return await peer.stream(wire.SUBSCRIBE, params, timeout_s=None)
            except (DaemonNotRunningError, ConnectionLostError):
                await self._leave(peer)

    async def _engine_or_peer(self) -> tuple[_Engine | None, AsyncUnixTransport | None]:
        async with self._opening:
            while self._engine is None and self._peer is None:
                settings = self._settings()
                state_folder.prepare(settings.state_dir, settings.workspace)
                try:
                    lock = Lock(settings.state_dir)
                except LockedError:
                    self._peer = await self._find_peer(settings)
                else:
                    self._engine = await self._open(settings, lock)
            return self._engine, self._peer

    def _settings(self) -> Settings:
        environ = dict(os.environ)
        if discovery.is_in_step():
            environ.pop("FLOWD_SOCKET", None)  # it is that of the daemon that started the step
        flags: dict[str, object] = {}
        if self._folder is not None:
            flags = {"state_dir": self._folder, "socket": self._folder / wire.SOCKET_NAME}
        settings = settings_sources.load(workspace=self._workspace, flags=flags, environ=environ)
        if settings.store is not None and self._folder is None:
            raise StateError(
                f'Hosts share the store of {settings.workspace} ({settings.store}), and state="file" would keep a '
                'history beside it. Start a daemon there (flowd serve), or use state="memory".'
            )
        return settings

    async def _open(self, settings: Settings, lock: Lock) -> _Engine:
        engine = _Engine(_shared(settings, lock, self._env))
        await engine.open()
        return engine

    async def _find_peer(self, settings: Settings) -> AsyncUnixTransport | None:
        """Another client's engine behind the lock; None when it is not there yet or not any more."""
        path = sockets.socket_path(settings.socket)
        peer = AsyncUnixTransport(path)
        try:
            status = await peer.call(wire.STATUS, {}, timeout_s=None)
        except (DaemonNotRunningError, ConnectionLostError):
            await peer.close()
            await asyncio.sleep(_RETRY_PAUSE_S)
            return None
        except BaseException:
            await peer.close()
            raise
        if status.get("host") != methods.HOST:
            await peer.close()
            raise DaemonRunningError(str(settings.state_dir), socket_path=str(path))
        return peer

    async def _leave(self, peer: AsyncUnixTransport) -> None:
        if self._peer is peer:
            self._peer = None
        await peer.close()

    async def close(self) -> None:
        """As `LocalBackend.close`. Runs under way go on with the keeper, and are there for the next client."""
        async with self._opening:
            engine, self._engine = self._engine, None
            peer, self._peer = self._peer, None
        if peer is not None:
            await peer.close()
        if engine is not None:
            await engine.close()


@contextlib.asynccontextmanager
async def _shared(settings: Settings, lock: Lock, env: Mapping[str, str] | None) -> AsyncIterator[LocalMethods]:
    with lock:
        path = sockets.socket_path(settings.socket)
        async with running(settings, step_environ=env, socket_path=path, keeps_steps=True) as parts:
            local = methods.local_methods(parts, settings)
            async with listening(path, local, max_frame_bytes=settings.max_frame_bytes):
                yield local
