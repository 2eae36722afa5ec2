"""What a step was given: its flow, its event, how the steps ended that it needs, and what a person answered.

Plain classes, because `dataclasses` and `typing` take longer to import than all that is here.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


class ContextError(Exception):
    """There is no context to read, or what is there is none."""


class Flow:
    """The flow that the step belongs to.

    Attributes:
        name: As its flow.toml has it; empty where the step was given a bare event.
        version: Likewise, else 0.
        root: The absolute path of its folder, else the working folder.
    """

    def __init__(self, members: Mapping[str, Any]) -> None:
        self.name: str = members.get("name", "")
        self.version: float = members.get("version", 0)
        self.root: str = members.get("root", ".")


class Event:
    """The event that the step runs for.

    Attributes:
        id: No two events have the same.
        type: What triggers are matched against.
        payload: Any JSON value, most often an object.
        source: Who sent it; None where that was not said.
        occurred_at: When it happened, as its sender wrote it; None where that was not said.
        received_at: When flowd took it, or what its sender wrote.
        raw: All of it, members too that nobody but the sender knows.
    """

    def __init__(self, members: dict[str, Any]) -> None:
        self.id: str = members["id"]
        self.type: str = members["type"]
        self.payload: Any = members.get("payload", {})
        self.source: str | None = members.get("source")
        self.occurred_at: str | None = members.get("occurredAt")
        self.received_at: str | None = members.get("receivedAt")
        self.raw: dict[str, Any] = members

    def __repr__(self) -> str:
        return f"<Event {self.id!r} of type {self.type!r}>"


class Need:
    """How a step ended that this one needs.

    Attributes:
        name: The step's.
        run_id: Of the run that ended so.
        status: ``completed``, ``changed``, ``skipped``, ``failed`` or ``canceled``.
        result: What it said, status and message included; empty where it said nothing.
    """

    def __init__(self, name: str, members: Mapping[str, Any]) -> None:
        self.name = name
        self.run_id: str = members.get("runId", "")
        self.status: str = members["status"]
        self.result: dict[str, Any] = members.get("result") or {}

    @property
    def message(self) -> str | None:
        """What it said for people."""
        return self.result.get("message")

    def __repr__(self) -> str:
        return f"<Need {self.name!r}, which ended as {self.status}>"


if TYPE_CHECKING:
    _NeedsByName = dict[str, Need]
else:
    _NeedsByName = dict  # which Python 3.8 cannot subscript


class Needs(_NeedsByName):
    """How the steps ended that this one needs, by their names, in the order of its ``needs``."""

    def __missing__(self, name: str) -> Need:
        known = ", ".join(self) or "none"
        raise KeyError(f"this step does not need {name!r}; its needs are: {known}")

    def with_status(self, *statuses: str) -> list[Need]:
        """Those that ended with one of these, for example ``step.needs.with_status("failed", "canceled")``."""
        return [need for need in self.values() if need.status in statuses]


class Answer:
    """What a person answered when an earlier attempt had asked, see ``flowd answer``.

    Attributes:
        input: Any JSON value; None where none was given.
        by: Who it was, as flowd knows them.
        at: When, ISO 8601 in UTC.
    """

    def __init__(self, members: Mapping[str, Any]) -> None:
        self.input: Any = members.get("input")
        self.by: dict[str, Any] = members.get("by", {})
        self.at: str = members.get("at", "")


def read_stdin() -> Any:
    """The document on standard input.

    Raises:
        ContextError: There is none.
    """
    import json  # noqa: PLC0415 - 4 ms, which who only imports this does not pay

    if sys.stdin is None or sys.stdin.isatty():
        raise ContextError(
            "A step reads its context from standard input, which is a terminal here. Give it an event"
            f" (python3 {sys.argv[0]} < event.json), or let flowd run it (flowd exec FLOW/STEP)."
        )
    text = sys.stdin.buffer.read()
    if not text.strip():
        raise ContextError(
            "There is no context on standard input. A script that has a function run(context) is called with its"
            " context, so that is what to give on: flowd_step.context(context). Nor can it be read twice."
        )
    try:
        return json.loads(text)
    except ValueError as error:
        raise ContextError(f"What is on standard input is no JSON: {error}.") from None


def as_context(given: Any) -> dict[str, Any]:
    """A context as flowd hands it over; made around a bare event, which is what people have at hand.

    Raises:
        ContextError: It is neither.
    """
    if isinstance(given, dict):
        flow = given.get("flow")
        found = given if isinstance(flow, dict) else {"flow": {"event": given}}
        event = found["flow"].get("event")
        if isinstance(event, dict) and isinstance(event.get("id"), str) and isinstance(event.get("type"), str):
            return found
    raise ContextError("A context is an object with flow.event; an event is one with the texts id and type.")
