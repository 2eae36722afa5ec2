"""Compiles schema files into payload checks: JSON Schema, draft 2020-12 unless ``$schema`` says otherwise.

A ``$ref`` may lead to other files of the same package and nowhere else, least of all to the network.

The library holds Python's lock while it compiles and checks, and can be interrupted by nothing. So what is not surely
cheap by its text (`flowd.catalog.schema_weight`) is compiled and checked in another process.
"""

import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Protocol, cast
from urllib.parse import quote, unquote, urljoin, urlsplit

import jsonschema_rs

from flowd.catalog import ecma
from flowd.catalog.schema_weight import MAX_CHEAP_BYTES, Weight, weigh
from flowd.catalog.subschemas import every
from flowd.catalog.subset import MAX_ERRORS, compile_subset
from flowd.domain.flow import COSTLY, PayloadCheck, SchemaError, SchemaSource
from flowd.domain.matching import count_values

MAX_SCHEMA_BYTES = 4 * 1024 * 1024

MAX_SUBSET_VALUES = 2_000
"""Of a schema that is checked by four keywords; a larger one is costly. Each value of it takes a microsecond."""

_MAX_MESSAGE_CHARS = 300
# Backtracking ends with its process, not at a number of steps: the library takes the limit for a mismatch, and a
# mismatch under a `not` for a match.
_BACKTRACK_LIMIT = 1 << 48
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

_CHECKS_FORMATS = re.compile(r"json-schema\.org/draft-0[467]/")

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


Run = Callable[[object], list[SchemaError]]
"""See `flowd.domain.flow.PayloadCheck.run`."""


class Elsewhere(Protocol):
    """Another process that compiles schemas."""

    def compile(self, source: SchemaSource, load: Callable[[str], bytes]) -> SchemaSource:
        """Try a schema out; gives it with the files that ``load`` gave for its references.

        Raises:
            SchemaFileError: It is no usable schema, or does not compile in reasonable time; or ``load`` raised it.
        """
        ...


def compile_schema(
    path: str, *, package: str, read: Read, elsewhere: Elsewhere, is_subset: bool = False
) -> PayloadCheck:
    """The check that a schema file describes. It never raises: a payload that it cannot check does not match.

    Args:
        path: Absolute path of the schema file; it may lie outside the package, its references may not.
        package: Absolute path of the package's folder.
        read: Reads the file, and those that it refers to.
        elsewhere: Compiles what is not surely cheap.
        is_subset: Check as the reference system did, see `flowd.catalog.subset`.

    Raises:
        SchemaFileError: The file, or one that it refers to, is missing, unreadable or no usable schema.
    """
    files = _Files(package, path, read)
    schema = files.load(path)
    if not isinstance(schema, dict):
        raise SchemaFileError(path, "the schema is not a JSON object", "Write a JSON Schema as one JSON object.")
    if is_subset:
        weight = _subset_weight(schema)
        run: Run | None = compile_subset(schema)
    else:
        weight = _weight(path, schema, files)
        run = None if weight.why_costly else _linear(path, schema, files)
        if run is None:
            weight = Weight(why_costly=weight.why_costly or "has patterns that need to go back in the text")
    source = SchemaSource(path, package, files.texts, is_subset)
    formats = () if is_subset else _unchecked_formats(schema)
    if run is not None and weight.why_costly is None:
        return PayloadCheck(run, weight.units, source, unchecked_formats=formats)
    source = elsewhere.compile(source, files.text)
    return PayloadCheck(None, COSTLY, source, weight.why_costly, formats)


def compile_here(source: SchemaSource) -> Run:
    """The check of a schema, whatever it may cost.

    Raises:
        MissingDocumentError: It refers to a file that the source does not hold.
        SchemaFileError: It is no usable schema.
    """

    def read(file: str, _: int) -> bytes:
        if file not in source.documents:
            raise MissingDocumentError(file)
        return source.documents[file]

    files = _Files(source.package, source.path, read, is_trusted=True)
    schema = files.load(source.path)
    assert isinstance(schema, dict)
    if source.is_subset:
        return compile_subset(schema)
    failure: Exception | None = None
    # Linear where that is possible.
    for options in (
        jsonschema_rs.RegexOptions(),
        jsonschema_rs.FancyRegexOptions(backtrack_limit=_BACKTRACK_LIMIT),
    ):
        try:
            return _checker(_compile(schema, source.path, files, options))
        except (MissingDocumentError, SchemaFileError):
            raise
        except Exception as error:  # noqa: BLE001 - whatever a schema provokes is that schema's fault
            failure = error
    raise SchemaFileError(source.path, f"not a usable JSON Schema: {_why(failure)}", "Correct the schema there.")


class MissingDocumentError(Exception):
    """A schema refers to a file whose content is not at hand. Its argument is the file's absolute path."""


def _unchecked_formats(schema: dict[str, object]) -> tuple[str, ...]:
    """The formats that nothing is checked by. Up to draft 7 the library checks them; after that they are notes."""
    if _CHECKS_FORMATS.search(str(schema.get("$schema", ""))):
        return ()
    return tuple(sorted({found for part in every(schema) if isinstance(found := part.get("format"), str)}))


def _subset_weight(schema: dict[str, object]) -> Weight:
    units = count_values(schema, MAX_SUBSET_VALUES)
    return Weight(units) if units <= MAX_SUBSET_VALUES else Weight(why_costly="is very large")


def _weight(path: str, schema: dict[str, object], files: "_Files") -> Weight:
    def load(document: str, reference: str) -> tuple[str, object]:
        file = files.file(urljoin(f"file://{quote(document)}", reference))
        return file, files.load(file)

    weight = weigh(path, schema, load)
    is_large = sum(map(len, files.texts.values())) > MAX_CHEAP_BYTES
    return Weight(why_costly="is very large") if is_large and weight.why_costly is None else weight


def _linear(path: str, schema: dict[str, object], files: "_Files") -> Run | None:
    """The check with patterns that run in linear time; None where the schema is none, or has others."""
    try:
        return _checker(_compile(schema, path, files, jsonschema_rs.RegexOptions()))
    except SchemaFileError:
        raise
    except Exception:  # noqa: BLE001 - the other process says what is wrong
        return None


class _Files:
    """The files of one schema, as its compiler asks for them.

    Attributes:
        texts: Those that were read, by path.
    """

    def __init__(self, package: str, path: str, read: Read, *, is_trusted: bool = False) -> None:
        """``is_trusted``: whether what ``read`` gives is known to lie in the package."""
        self.texts: dict[str, bytes] = {}
        # The compiler would reword what a retriever raises.
        self.error: SchemaFileError | MissingDocumentError | None = None
        self._package = os.path.realpath(package)
        self._path = path
        self._read = read
        self._is_trusted = is_trusted

    def retrieve(self, uri: str) -> "jsonschema_rs.JSONType":
        try:
            return cast("jsonschema_rs.JSONType", ecma.translated(self.load(self.file(uri))))
        except (SchemaFileError, MissingDocumentError) as error:
            self.error = error
            raise ValueError(str(error)) from None

    def text(self, file: str) -> bytes:
        """The content of a file that the schema refers to."""
        self.load(self.file(f"file://{quote(file)}"))
        return self.texts[file]

    def load(self, file: str) -> object:
        """What a file of the schema holds."""
        if file in self.texts:
            return _parse(file, self.texts[file])
        try:
            self.texts[file] = self._read(file, MAX_SCHEMA_BYTES)
        except OSError as error:
            remedy = "Create the file, or correct the path that names it."
            raise SchemaFileError(file, f"the schema cannot be read: {error.strerror or error}", remedy) from None
        return _parse(file, self.texts[file])

    def file(self, uri: str) -> str:
        """The file that an address means."""
        parts = urlsplit(uri)
        file = unquote(parts.path)
        if parts.scheme != "file" or parts.netloc or "\0" in file:
            raise SchemaFileError(
                self._path,
                f"the schema refers to {uri[:200]}, and nothing is fetched",
                "Put that schema into the package and refer to it by a relative path; "
                "an $id with another address changes what relative paths mean.",
            )
        if self._is_trusted:
            return file
        real = os.path.realpath(file)
        if os.path.commonpath([real, self._package]) != self._package:
            raise SchemaFileError(
                self._path,
                f"$ref leads out of the package, to {file}",
                "Copy that schema into the package's folder and refer to it there.",
            )
        return file


def _parse(path: str, text: bytes) -> object:
    try:
        return json.loads(text.decode("utf-8-sig"), parse_constant=_refuse_constant)
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


def _compile(
    schema: dict[str, object], path: str, files: _Files, options: "jsonschema_rs.PatternOptionsType"
) -> jsonschema_rs.Validator:
    try:
        return jsonschema_rs.validator_for(
            cast("dict[str, object]", ecma.translated(schema)),
            retriever=files.retrieve,
            base_uri=f"file://{quote(path)}",
            pattern_options=options,
        )
    except Exception:
        if files.error is not None:
            raise files.error from None
        raise


def _why(error: Exception | None) -> str:
    if isinstance(error, jsonschema_rs.ValidationError):
        where = _json_path(error.instance_path)
        return _short(error.message) if where == "$" else f"{_short(error.message)} (at {where})"
    return _short(str(error))


def _checker(validator: jsonschema_rs.Validator) -> Run:
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
