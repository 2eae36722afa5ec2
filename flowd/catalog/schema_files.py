"""The files that a schema is made of: read, parsed, and kept within its package."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast
from urllib.parse import quote, unquote, urlsplit

import jsonschema_rs

from flowd.catalog import ecma

MAX_SCHEMA_BYTES = 4 * 1024 * 1024

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


class MissingDocumentError(Exception):
    """A schema refers to a file whose content is not at hand. Its argument is the file's absolute path."""


class SchemaFiles:
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
