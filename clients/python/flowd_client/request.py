"""A request of the client, before it is sent: what it asks, how long that may take, and how its response is read."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, TypeVar, Union

from flowd_client import wire

if TYPE_CHECKING:
    from datetime import datetime

T = TypeVar("T")
Stream = wire.Stream
ListedOutput = wire.ListedOutput
Named = wire.Named
Encoding = Literal["utf-8", "base64"]
Instant = Union["datetime", str]
ResolvedAs = Literal["completed", "changed", "failed", "skipped"]


CANCEL_S = 120.0
"""A cancel is answered when the step has ended, which its grace may delay."""


class Request(NamedTuple, Generic[T]):
    """A call to make.

    Attributes:
        read: The response as a view.
        wait_s: How long the daemon may take on purpose, on top of the client's own limit; infinite for no limit.
    """

    method: str
    params: Mapping[str, Any]
    read: Callable[[Any], T]
    wait_s: float = 0.0

    def timeout_s(self, margin_s: float) -> float | None:
        """The deadline of the whole call, None for none."""
        return None if math.isinf(self.wait_s) else self.wait_s + margin_s

    def after(self, spent_s: float) -> Request[T]:
        """The same to be asked again, so much later: what is left of its waiting."""
        waits = {name: self.params[name] for name in ("timeoutMs", "waitMs") if self.params.get(name) is not None}
        if not waits:
            return self
        left = {name: max(0, wait_ms - round(spent_s * 1000)) for name, wait_ms in waits.items()}
        return self._replace(params={**self.params, **left})


def reader(module: str, name: str) -> Callable[[Any], Any]:
    """A reader of `flowd_client.views` that is imported by its first use."""

    def read(response: Any) -> Any:
        return getattr(import_module(f"flowd_client.views.{module}"), name)(response)

    return read


def given(**members: Any) -> dict[str, Any]:
    """Parameters without those that are None."""
    return {name: value for name, value in members.items() if value is not None}


def instant(at: Instant | None) -> str | None:
    """An instant as text; a datetime without an offset is local time."""
    return at if at is None or isinstance(at, str) else at.astimezone().isoformat()


def labels(wanted: Mapping[str, str] | None) -> list[str] | None:
    """Labels as a filter has them: ``name=value``."""
    return [f"{name}={value}" for name, value in wanted.items()] if wanted else None


def wait_s(timeout_ms: int | None) -> float:
    """Seconds; infinite where there is no limit."""
    return math.inf if timeout_ms is None else timeout_ms / 1000
