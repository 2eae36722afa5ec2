"""The parameters of every method as types, which check them and which `rpc.discover` describes."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from flowd.domain.errors import InvalidParamsError
from flowd_client import wire

Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=86_400_000)]
Identifier = Annotated[str, msgspec.Meta(min_length=1, max_length=2048)]
Offset = Annotated[int, msgspec.Meta(ge=0)]
Encoding = Literal["utf-8", "base64"]
Limit = int | float | str | None
"""A number or a numeric string, as the reference system takes it."""


class Params(msgspec.Struct, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """Base of all parameters: by name in camelCase, or by position in the order of the fields."""


P = TypeVar("P", bound=Params)


class NoParams(Params):
    """Nothing."""


class Dispatch(Params, forbid_unknown_fields=False):
    """An event, and whether to wait for its runs. Unknown members are ignored, as the reference system does."""

    event: Any
    wait: bool = False
    timeout_ms: Milliseconds | None = None


class Replay(Params):
    """Which event, whether to wait for the new runs, and which steps only."""

    event_id: Identifier
    wait: bool = False
    timeout_ms: Milliseconds | None = None
    steps: list[str] | None = None


class RunId(Params):
    """Which run."""

    run_id: Identifier


class EventId(Params):
    """Which event."""

    event_id: Identifier


class ListEvents(Params):
    """Which events."""

    type: str | None = None
    limit: Limit = None
    cursor: str | None = None


class ListRuns(Params):
    """Which runs. ``status`` is a process status or a result status."""

    event_id: str | None = None
    status: str | None = None
    flow: str | None = None
    limit: Limit = None
    cursor: str | None = None


class Prune(Params):
    """How old what is forgotten must be at least, in milliseconds; ``dryRun`` only counts it."""

    older_than_ms: Annotated[int, msgspec.Meta(ge=60_000, le=100 * 366 * 86_400_000)]
    dry_run: bool = False


class WaitRun(Params):
    """Which run, and how long."""

    run_id: Identifier
    timeout_ms: Milliseconds | None = None


class ReadOutput(Params):
    """Which part of which stream. ``attempt`` is the last one by default; ``waitMs`` waits for something to read, or,
    with ``otherOffset``, for the other stream to reach beyond that."""

    run_id: Identifier
    stream: Literal["stdout", "stderr"] = "stdout"
    offset: Offset = 0
    max_bytes: Annotated[int, msgspec.Meta(ge=1, le=1024 * 1024)] = 256 * 1024
    attempt: Annotated[int, msgspec.Meta(ge=1)] | None = None
    wait_ms: Annotated[int, msgspec.Meta(ge=0, le=60_000)] = 0
    encoding: Encoding = "utf-8"
    other_offset: Offset | None = None


class OutputPlace(Params):
    """How far an attempt's output was read, in bytes."""

    run_id: Identifier
    attempt: Annotated[int, msgspec.Meta(ge=1)]
    stdout: Offset = 0
    stderr: Offset = 0


class Subscribe(Params):
    """What to hear of, and from where on.

    ``topics`` are all but output by default; with ``runId`` or ``eventId`` only what is about that run, or that event
    and its runs. ``after`` is the cursor of the last update that was heard; without it from now on. ``places`` tell how
    far the output of attempts under way was read. ``encoding`` is of output.
    """

    topics: Annotated[list[Literal["event", "run", "flow", "output"]], msgspec.Meta(min_length=1)] | None = None
    run_id: Identifier | None = None
    event_id: Identifier | None = None
    after: str | None = None
    places: Annotated[list[OutputPlace], msgspec.Meta(max_length=10_000)] = []
    encoding: Encoding = "utf-8"


class Unsubscribe(Params):
    """Which subscription of this connection."""

    subscription: Identifier


class Explain(Params):
    """An event to explain."""

    event: Any


class Status(Params):
    """Whether to tell the settings, too."""

    settings: bool = False


def read(kind: type[P], args: Sequence[object], kwargs: Mapping[str, object]) -> P:
    """Parameters by name or by position.

    Raises:
        InvalidParamsError: One is missing, unknown or wrong; the message says which.
    """
    members = dict(kwargs)
    if args:
        names = kind.__struct_encode_fields__
        if len(args) > len(names):
            raise InvalidParamsError(f"Takes at most {len(names)} parameters ({', '.join(names)}), got {len(args)}.")
        members = dict(zip(names, args, strict=False))
    try:
        return msgspec.convert({name: value for name, value in members.items() if value is not None}, kind)
    except msgspec.ValidationError as error:
        raise InvalidParamsError(f"{error}.".replace("`", "'")) from None


def page_limit(value: Limit) -> int:
    """Missing, 0 or not a number gives the default; everything else is truncated and clamped.

    >>> page_limit(None), page_limit("7"), page_limit(-3), page_limit(10_000), page_limit("x")
    (50, 7, 1, 500, 50)
    """
    try:
        number = int(float(value)) if value is not None else 0
    except (ValueError, OverflowError):
        number = 0
    return min(wire.MAX_LIMIT, max(1, number)) if number else wire.DEFAULT_LIMIT
