"""Compiles schema files into payload checks: JSON Schema, draft 2020-12 unless ``$schema`` says otherwise.

A ``$ref`` may lead to other files of the same package and nowhere else, least of all to the network.

The library holds Python's lock while it compiles and checks, and can be interrupted by nothing. So what is not surely
cheap by its text (`flowd.catalog.schema_weight`) is compiled and checked in another process.
"""

import re
from collections.abc import Callable
from typing import Protocol, cast
from urllib.parse import quote, urljoin

import jsonschema_rs

from flowd.catalog import ecma
from flowd.catalog.schema_files import MissingDocumentError, Read, SchemaFileError, SchemaFiles
from flowd.catalog.schema_validator import Run, checker, json_path, short
from flowd.catalog.schema_weight import MAX_CHEAP_BYTES, Weight, weigh
from flowd.catalog.subschemas import every
from flowd.catalog.subset import compile_subset
from flowd.domain.matching import count_values
from flowd.domain.payload_check import COSTLY, PayloadCheck, SchemaSource

MAX_SUBSET_VALUES = 2_000
"""Of a schema that is checked by four keywords; a larger one is costly. Each value of it takes a microsecond."""

# Backtracking ends with its process, not at a number of steps: the library takes the limit for a mismatch, and a
# mismatch under a `not` for a match.
_BACKTRACK_LIMIT = 1 << 48

_CHECKS_FORMATS = re.compile(r"json-schema\.org/draft-0[467]/")


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
    files = SchemaFiles(package, path, read)
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

    files = SchemaFiles(source.package, source.path, read, is_trusted=True)
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
            return checker(_compile(schema, source.path, files, options))
        except (MissingDocumentError, SchemaFileError):
            raise
        except Exception as error:  # noqa: BLE001 - whatever a schema provokes is that schema's fault
            failure = error
    raise SchemaFileError(source.path, f"not a usable JSON Schema: {_why(failure)}", "Correct the schema there.")


def _unchecked_formats(schema: dict[str, object]) -> tuple[str, ...]:
    """The formats that nothing is checked by. Up to draft 7 the library checks them; after that they are notes."""
    if _CHECKS_FORMATS.search(str(schema.get("$schema", ""))):
        return ()
    return tuple(sorted({found for part in every(schema) if isinstance(found := part.get("format"), str)}))


def _subset_weight(schema: dict[str, object]) -> Weight:
    units = count_values(schema, MAX_SUBSET_VALUES)
    return Weight(units) if units <= MAX_SUBSET_VALUES else Weight(why_costly="is very large")


def _weight(path: str, schema: dict[str, object], files: SchemaFiles) -> Weight:
    def load(document: str, reference: str) -> tuple[str, object]:
        file = files.file(urljoin(f"file://{quote(document)}", reference))
        return file, files.load(file)

    weight = weigh(path, schema, load)
    is_large = sum(map(len, files.texts.values())) > MAX_CHEAP_BYTES
    return Weight(why_costly="is very large") if is_large and weight.why_costly is None else weight


def _linear(path: str, schema: dict[str, object], files: SchemaFiles) -> Run | None:
    """The check with patterns that run in linear time; None where the schema is none, or has others."""
    try:
        return checker(_compile(schema, path, files, jsonschema_rs.RegexOptions()))
    except SchemaFileError:
        raise
    except Exception:  # noqa: BLE001 - the other process says what is wrong
        return None


def _compile(
    schema: dict[str, object], path: str, files: SchemaFiles, options: "jsonschema_rs.PatternOptionsType"
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
        where = json_path(error.instance_path)
        return short(error.message) if where == "$" else f"{short(error.message)} (at {where})"
    return short(str(error))
