"""Compiles schema files into payload checks: JSON Schema, draft 2020-12 unless ``$schema`` says otherwise.

A ``$ref`` may lead to other files of the same package and nowhere else, least of all to the network. Patterns run on
an engine of linear time; one that needs look-around runs on a backtracking one with a limit, and a payload that
reaches the limit does not match.
"""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import cast
from urllib.parse import quote, unquote, urlsplit

import jsonschema_rs

from flowd.catalog.subset import MAX_ERRORS, compile_subset
from flowd.domain.flow import PayloadCheck, SchemaError

MAX_SCHEMA_BYTES = 4 * 1024 * 1024

_MAX_MESSAGE_CHARS = 300
# About a million steps take 10 ms; a pattern that needs more is not meant for events.
_BACKTRACK_LIMIT = 1_000_000
# The library makes all errors of a payload at once, each with a copy of the value at fault: 8 µs and more apiece.
_MANY_VALUES = 5_000
# The library recurses on the machine's stack: a payload of 100,000 levels ends the process (measured, 0.60.3). It has
# this limit itself, but only where it writes an error.
_MAX_DEPTH = 255
_CHARS_PER_VALUE = 64

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

Read = Callable[[str, int], bytes]
"""Reads a file of at most so many bytes; raises OSError."""


@dataclass
class SchemaFileError(Exception):
    """A schema that cannot be used.

    Attributes:
        file: Absolute path of the file at fault.
        message: What is wrong, without file and line.
    """

    file: str
    message: str
    remedy: str
    line: int | None = None


def compile_schema(path: str, *, package: str, read: Read, is_subset: bool = False) -> PayloadCheck:
    """The check that a schema file describes. It never raises: a payload that it cannot check does not match.

    Args:
        path: Absolute path of the schema file; it may lie outside the package, its references may not.
        package: Absolute path of the package's folder.
        read: Reads the file, and those that it refers to.
        is_subset: Check as the reference system did, see `flowd.catalog.subset`.

    Raises:
        SchemaFileError: The file, or one that it refers to, is missing, unreadable or no usable schema.
    """
    schema = _load(path, read)
    if not isinstance(schema, dict):
        raise SchemaFileError(path, "the schema is not a JSON object", "Write a JSON Schema as one JSON object.")
    if is_subset:
        return compile_subset(schema)
    return _checker(_compile(schema, path, _Retriever(package, path, read)))


class _Retriever:
    """Gives the schema compiler the files of the package. Keeps its refusal, which the compiler would reword."""

    def __init__(self, package: str, path: str, read: Read) -> None:
        self.error: SchemaFileError | None = None
        self._package = os.path.realpath(package)
        self._path = path
        self._read = read

    def __call__(self, uri: str) -> "jsonschema_rs.JSONType":
        try:
            return cast("jsonschema_rs.JSONType", _load(self._file(uri), self._read))
        except SchemaFileError as error:
            self.error = error
            raise ValueError(error.message) from None

    def _file(self, uri: str) -> str:
        parts = urlsplit(uri)
        file = unquote(parts.path)
        if parts.scheme != "file" or parts.netloc or "\0" in file:
            raise SchemaFileError(
                self._path,
                f"the schema refers to {uri[:200]}, and nothing is fetched",
                "Put that schema into the package and refer to it by a relative path; "
                "an $id with another address changes what relative paths mean.",
            )
        real = os.path.realpath(file)
        if os.path.commonpath([real, self._package]) != self._package:
            raise SchemaFileError(
                self._path,
                f"$ref leads out of the package, to {file}",
                "Copy that schema into the package's folder and refer to it there.",
            )
        return file


def _load(path: str, read: Read) -> object:
    try:
        text = read(path, MAX_SCHEMA_BYTES).decode("utf-8-sig")
        return json.loads(text, parse_constant=_refuse_constant)
    except OSError as error:
        remedy = "Create the file, or correct the path that names it."
        raise SchemaFileError(path, f"the schema cannot be read: {error.strerror or error}", remedy) from None
    except UnicodeDecodeError:
        raise SchemaFileError(path, "the schema is not UTF-8", "Save it as UTF-8.") from None
    except json.JSONDecodeError as error:
        message = f"the schema is not JSON: {error.msg} (column {error.colno})"
        raise SchemaFileError(path, message, "Correct the JSON there.", error.lineno) from None
    except (ValueError, RecursionError) as error:
        message = f"the schema cannot be used: {str(error)[:200]}"
        raise SchemaFileError(path, message, "Write plain JSON of moderate depth and number size.") from None


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _compile(schema: dict[str, object], path: str, retriever: _Retriever) -> jsonschema_rs.Validator:
    linear = jsonschema_rs.RegexOptions()
    backtracking = jsonschema_rs.FancyRegexOptions(backtrack_limit=_BACKTRACK_LIMIT)
    failure: Exception | None = None
    for options in (linear, backtracking):
        try:
            return jsonschema_rs.validator_for(
                schema, retriever=retriever, base_uri=f"file://{quote(path)}", pattern_options=options
            )
        except Exception as error:  # noqa: BLE001 - whatever a schema provokes is that schema's fault, not the scan's
            failure = error
            if retriever.error is not None:
                raise retriever.error from None
    raise SchemaFileError(path, f"not a usable JSON Schema: {_why(failure)}", "Correct the schema there.")


def _why(error: Exception | None) -> str:
    if isinstance(error, jsonschema_rs.ValidationError):
        where = _json_path(error.instance_path)
        return _short(error.message) if where == "$" else f"{_short(error.message)} (at {where})"
    return _short(str(error))


def _checker(validator: jsonschema_rs.Validator) -> PayloadCheck:
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
            return [SchemaError("$", "", _short(f"the payload cannot be checked: {error}"))]

    return check


def _errors(validator: jsonschema_rs.Validator, payload: object) -> list[SchemaError]:
    if not _has_many_values(payload):
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


def _has_many_values(payload: object) -> bool:
    count = 0
    left: list[object] = [payload]
    while left and count <= _MANY_VALUES:
        value = left.pop()
        count += 1
        if isinstance(value, dict):
            count += len(value)
            left.extend(islice(value.values(), _MANY_VALUES))
        elif isinstance(value, list):
            left.extend(islice(value, _MANY_VALUES + 1))
        elif isinstance(value, str):
            count += len(value) // _CHARS_PER_VALUE
    return count > _MANY_VALUES


def _error(error: jsonschema_rs.ValidationError) -> SchemaError:
    keyword = error.kind.name
    if keyword == "falseSchema":
        holders = [part for part in error.schema_path if isinstance(part, str) and part in _HOLDERS]
        keyword = holders[-1] if holders else "false"
    return SchemaError(_json_path(error.instance_path), keyword, _short(error.message))


def _json_path(parts: list[str | int]) -> str:
    path = "$"
    for part in parts:
        if isinstance(part, int):
            path += f"[{part}]"
        else:
            path += f".{part}" if part.isidentifier() else f"[{json.dumps(part, ensure_ascii=False)}]"
    return _short(path)


def _short(text: str) -> str:
    """The text without its middle if it is long: a message names the value first and what is wrong with it last."""
    if len(text) <= _MAX_MESSAGE_CHARS:
        return text
    return f"{text[:120]} … {text[-170:]}"
