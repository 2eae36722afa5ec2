"""Local mode: flowd's own engine inside the caller. The engine is in the ``flowd`` package, found when it is wanted.

This library never imports that package by name, because it works without it; here alone it looks whether it is there.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar, cast

from flowd_client.errors import FlowClientError, TimedOutError, UnavailableModeError
from flowd_client.wire import DISPATCH

if TYPE_CHECKING:
    from concurrent.futures import Future

T = TypeVar("T")
State = Literal["memory", "file"]
OnOutput = Callable[[str, str, str], None]
"""``(run_id, stream, text)``."""


class LocalUpdates(Protocol):
    """A subscription, for any thread.

    Attributes:
        answer: What the engine answered to it.
    """

    answer: Any

    def next(self) -> "Future[Mapping[str, Any]]":
        """Begin to wait for the next update; one wait at a time."""
        ...

    def close(self) -> None:
        """End it. May be called twice."""
        ...


class LocalEngine(Protocol):
    """What ``flowd.embedded.local`` gives. May be used from any thread."""

    def submit(self, method: str, params: Mapping[str, Any]) -> "Future[Any]":
        """Begin a call. Its future raises the `FlowClientError` tree; cancelling it does not undo what was asked."""
        ...

    def open_stream(self, params: Mapping[str, Any]) -> "Future[LocalUpdates]":
        """Begin to hear what happens. Its future raises the `FlowClientError` tree."""
        ...

    def close(self) -> None:
        """End it. May be called twice; a later call starts it anew."""
        ...


def open_engine(
    *,
    workspace: str | Path | None,
    state: State | None,
    state_dir: str | Path | None,
    env: Mapping[str, str] | None,
    on_output: OnOutput | None,
) -> LocalEngine:
    """The engine of the installed flowd, not started yet.

    Raises:
        UnavailableModeError: flowd is not installed, only this library; or an argument makes no sense.
    """
    if state not in (None, "memory", "file"):
        raise UnavailableModeError(f'state must be None, "memory" or "file", got {state!r}.')
    if state_dir is not None and state != "file":
        raise UnavailableModeError('state_dir is where state="file" keeps its state; say state="file" as well.')
    try:
        home = import_module("flowd.embedded.local")
    except ImportError as error:
        raise UnavailableModeError(
            'mode "local" runs steps in this process with flowd\'s own engine, which is not installed here'
            f" ({error}). Install it with: pip install codex-flowd"
        ) from error
    engine = home.LocalEngine(workspace=workspace, state=state, state_dir=state_dir, env=env, on_output=on_output)
    return cast("LocalEngine", engine)


def limit_s(method: str, timeout_s: float | None, *, is_patient: bool) -> float | None:
    """A call's limit. ``is_patient``: without state a dispatch takes as long as its steps, so it has none."""
    return None if is_patient and method == DISPATCH else timeout_s


class LocalTransport:
    """Calls to an engine in this process. Implements `flowd_client.transport.Transport`."""

    def __init__(self, engine: LocalEngine, *, is_patient: bool = False) -> None:
        """``is_patient`` is that of `limit_s`."""
        self._engine = engine
        self._is_patient = is_patient

    def call(self, method: str, params: Mapping[str, Any], *, timeout_s: float | None) -> Any:
        """As `flowd_client.transport.Transport.call`."""
        limit = limit_s(method, timeout_s, is_patient=self._is_patient)
        return _result(self._engine.submit(method, params), method, limit)

    def stream(self, method: str, params: Mapping[str, Any], *, timeout_s: float | None) -> "LocalStream":
        """What happens, from now on or behind a cursor. Raises the `FlowClientError` tree."""
        return LocalStream(_result(self._engine.open_stream(params), method, timeout_s))

    def close(self) -> None:
        """End the engine: see ``state`` of `flowd_client.create_flow_client` for what becomes of runs under way."""
        self._engine.close()


class LocalStream:
    """Implements `flowd_client.updates.UpdateStream`."""

    def __init__(self, updates: LocalUpdates) -> None:
        self.answer = updates.answer
        self._updates = updates
        self._pending: Future[Mapping[str, Any]] | None = None

    def next(self) -> Mapping[str, Any]:
        """See `flowd_client.updates.UpdateStream.next`."""
        from concurrent.futures import CancelledError  # noqa: PLC0415 - local mode has loaded it

        self._pending = self._updates.next()
        try:
            return self._pending.result()
        except CancelledError:
            raise closed() from None

    def close(self) -> None:
        """See `flowd_client.updates.UpdateStream.close`."""
        self._updates.close()
        if self._pending is not None:
            self._pending.cancel()


def closed() -> FlowClientError:
    """What a stream raises that was closed, or whose client was. Not to be connected anew."""
    return FlowClientError("connection_lost", "The local client was closed, and its subscriptions with it.")


def _result(future: "Future[T]", method: str, timeout_s: float | None) -> T:
    try:
        return future.result(timeout_s)
    except TimeoutError as error:
        if future.done() and not future.cancelled():
            raise
        future.cancel()
        raise TimedOutError(method, timeout_s or 0) from error
    except BaseException:
        future.cancel()
        raise
