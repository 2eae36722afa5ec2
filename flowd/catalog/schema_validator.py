"""Makes the check of a compiled schema: no payload makes it raise, end the process, or answer without bounds."""

import json
from collections.abc import Callable
from itertools import islice

import jsonschema_rs

from flowd.catalog.subset import MAX_ERRORS
from flowd.domain.matching import count_values
from flowd.domain.payload_check import SchemaError

Run = Callable[[object], list[SchemaError]]
"""See `flowd.domain.payload_check.PayloadCheck.run`."""

_MAX_MESSAGE_CHARS = 300
# The library makes all errors of a payload at once, each with a copy of the value at fault: 8 µs and more apiece.
_MANY_VALUES = 5_000
# The library recurses on the machine's stack: a payload of 100,000 levels ends the process (measured, 0.60.3). It has
# this limit itself, but only where it writes an error.
_MAX_DEPTH = 255

# Keywords whose subschema may be `false`: the error's path ends in a property's name there, not in a keyword.
_HOLDERS = frozenset(
    {
        "properties",
        "patternProperties",
        "additionalProperties",
        "items",
        "prefixItems",
        "additionalItems",
        "contains",
        "propertyNames",
        "not",
        "if",
        "then",
        "else",
        "allOf",
        "anyOf",
        "oneOf",
        "dependentSchemas",
        "unevaluatedItems",
        "unevaluatedProperties",
    }
)


def checker(validator: jsonschema_rs.Validator) -> Run:
    """The check that this validator makes."""

    def check(payload: object) -> list[SchemaError]:
        if _is_deep(payload):
            return [SchemaError("$", "", f"the payload is nested deeper than {_MAX_DEPTH} levels")]
        try:
            if validator.is_valid(payload):
                return []
            return _errors(validator, payload)
        except UnicodeEncodeError:
            return [SchemaError("$", "", "the payload holds text that is not Unicode")]
        except Exception as error:  # noqa: BLE001 - never raises: an event must not be refused for one flow's schema
            return [SchemaError("$", "", short(f"the payload cannot be checked: {error}"))]

    return check


def _errors(validator: jsonschema_rs.Validator, payload: object) -> list[SchemaError]:
    if count_values(payload, _MANY_VALUES) <= _MANY_VALUES:
        return [_error(error) for error in islice(validator.iter_errors(payload), MAX_ERRORS)]
    try:
        validator.validate(payload)
    except jsonschema_rs.ValidationError as error:
        return [_error(error)]
    return [SchemaError("$", "", "the payload does not fit")]


def _is_deep(payload: object) -> bool:
    """Whether it is nested too deeply, found level by level without recursion."""
    level = [payload] if isinstance(payload, dict | list | tuple) else []
    for _ in range(_MAX_DEPTH):
        if not level:
            return False
        level = [
            value
            for container in level
            for value in (container.values() if isinstance(container, dict) else container)
            if isinstance(value, dict | list | tuple)
        ]
    return bool(level)


def _error(error: jsonschema_rs.ValidationError) -> SchemaError:
    keyword = error.kind.name
    if keyword == "falseSchema":
        holders = [part for part in error.schema_path if isinstance(part, str) and part in _HOLDERS]
        keyword = holders[-1] if holders else "false"
    return SchemaError(json_path(error.instance_path), keyword, short(error.message))


def json_path(parts: list[str | int]) -> str:
    """A place in a payload, as messages write it.

    >>> json_path(["a", 0, "b c"])
    '$.a[0]["b c"]'
    """
    path = "$"
    for part in parts:
        if isinstance(part, int):
            path += f"[{part}]"
        else:
            path += f".{part}" if part.isidentifier() else f"[{json.dumps(part, ensure_ascii=False)}]"
    return short(path)


def short(text: str) -> str:
    """The text without its middle if it is long: a message names the value first and what is wrong with it last."""
    if len(text) <= _MAX_MESSAGE_CHARS:
        return text
    return f"{text[:120]} … {text[-170:]}"
