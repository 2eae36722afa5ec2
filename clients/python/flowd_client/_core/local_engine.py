"""Local mode: flowd's own engine inside the caller. The engine is in the ``flowd`` package, found when it is wanted.

This library never imports that package by name, because it works without it; here alone it looks whether it is there.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

from flowd_client.errors import FlowClientError, UnavailableModeError
from flowd_client.wire import DISPATCH

if TYPE_CHECKING:
    from concurrent.futures import Future

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


def open_engine(*, state: State | None, state_dir: str | Path | None, **options: Any) -> LocalEngine:
    """The engine of the installed flowd, not started yet. Takes `flowd_client.factory.LocalOptions`.

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
            f" ({error}). Install flowd, in a clone of its repository: pip install ."
        ) from error
    return cast("LocalEngine", home.LocalEngine(state=state, state_dir=state_dir, **options))


def limit_s(method: str, timeout_s: float | None, *, is_patient: bool) -> float | None:
    """A call's limit. ``is_patient``: without state a dispatch takes as long as its steps, so it has none."""
    return None if is_patient and method == DISPATCH else timeout_s


def closed() -> FlowClientError:
    """What a stream raises that was closed, or whose client was. Not to be connected anew."""
    return FlowClientError("connection_lost", "The local client was closed, and its subscriptions with it.")
