"""Reads the event of a command line: from a file, from stdin, or from options."""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from flowd.cli.exits import CommandError

_MAX_BYTES: Final = 512 * 1024 * 1024
"""An event with the largest payload that settings allow has less, however it is written. What is endless
(``/dev/zero``) would else take all memory."""


def read_event(path: str, *, most_bytes: int = _MAX_BYTES) -> Any:
    """The JSON in a file, or on stdin for ``-``.

    Raises:
        CommandError: It cannot be read, is larger, or is not JSON; the message has file, line and column.
    """
    name = "stdin" if path == "-" else path
    try:
        if path == "-":
            data = sys.stdin.buffer.read(most_bytes + 1)
        else:
            with open(path, "rb") as file:
                data = file.read(most_bytes + 1)
    except OSError as error:
        raise CommandError(f"{name}: cannot be read: {error.strerror or error}.{_meant(name, error)}") from error
    if len(data) > most_bytes:
        raise CommandError(f"{name}: has more than {most_bytes} bytes, and so is no event.")
    return parse_json(data, name)


def _meant(name: str, error: OSError) -> str:
    """What was perhaps meant by a file that is not there, with a blank before it."""
    if not isinstance(error, FileNotFoundError) or "/" in name:
        return ""
    example = Path("flows", name, "event.json")
    if example.is_file():
        return f" Did you mean {example}?"
    is_type = "." in name and not name.endswith(".json")
    return f" For an event of that type write --type {name}." if is_type else ""


def parse_json(data: str | bytes, name: str) -> Any:
    """JSON from a place of this name.

    Raises:
        CommandError: It is not JSON.
    """
    try:
        return json.loads(data)
    except json.JSONDecodeError as error:
        raise CommandError(f"{name}:{error.lineno}:{error.colno}: not JSON: {error.msg}.") from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise CommandError(f"{name}: not JSON in UTF-8: {error}.") from error


def read_payload(value: str, option: str = "--payload") -> Any:
    """The value of an option: JSON, or ``@file`` with JSON in it (``@-`` is stdin)."""
    return read_event(value[1:]) if value.startswith("@") else parse_json(os.fsencode(value), option)


def with_options(event: Any, **members: Any) -> Any:
    """An event with the members that were given as options; None when there is neither."""
    given = {name: value for name, value in members.items() if value is not None}
    if event is None:
        return {"payload": {}, **given} if given else None
    return {**event, **given} if isinstance(event, dict) else event


def require_type(event: Mapping[str, Any]) -> None:
    """Say what an event lacks that has no type, in the words of the command line.

    Raises:
        CommandError: It has none.
    """
    if event.get("type") is None:
        from flowd.cli.leads import did_you_mean  # noqa: PLC0415 - only after a mistake

        wrong = next((f" {name!r} is no type:{said}" for name in event if (said := did_you_mean(name, ["type"]))), "")
        raise CommandError(f'An event needs a type: give --type, or "type" in the file.{wrong}')


def with_id(event: Mapping[str, Any]) -> dict[str, Any]:
    """The event, with an id that no other one has where it says none.

    So each sending of a file without an id, as `flowd new` writes it, is a new event; with one, sending it twice is
    harmless. 64 random bits: no two of a million such events have the same, and a list shows them beside the rest.
    """
    return {"id": f"cli-{os.urandom(8).hex()}", **event}


def one_of(positional: str | None, option: str | None) -> str | None:
    """The event's file, given as the argument or with ``--event``.

    Raises:
        CommandError: It was given in both ways.
    """
    if positional is not None and option is not None:
        raise CommandError("The event was given twice: as an argument and as --event. Leave one out.")
    return positional if positional is not None else option
