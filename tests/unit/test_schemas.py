"""Schema files: full JSON Schema, references inside the package, and payloads that would break a checker."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flowd.catalog.schema_files import MissingDocumentError, SchemaFileError
from flowd.catalog.schema_validator import Run
from flowd.catalog.schemas import compile_here, compile_schema
from flowd.domain.payload_check import PayloadCheck, SchemaError, SchemaSource


def read_file(path: str, max_bytes: int) -> bytes:
    with open(path, "rb") as file:
        return file.read(max_bytes)


class Here:
    """Tries costly schemas out in this process."""

    def compile(self, source: SchemaSource, load: Callable[[str], bytes]) -> SchemaSource:
        while True:
            try:
                compile_here(source)
                return source
            except MissingDocumentError as missing:
                file = missing.args[0]
                source = replace(source, documents={**source.documents, file: load(file)})


def checked(package: Path, schema: object, *, is_subset: bool = False) -> PayloadCheck:
    path = package / "schemas" / "event.json"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(schema if isinstance(schema, bytes) else json.dumps(schema).encode())
    return compile_schema(str(path), package=str(package), read=read_file, elsewhere=Here(), is_subset=is_subset)


def compiled(package: Path, schema: object, *, is_subset: bool = False) -> Run:
    """The check, wherever it would be made."""
    check = checked(package, schema, is_subset=is_subset)
    assert check.source is not None
    return check.run or compile_here(check.source)


def refused(package: Path, schema: object) -> SchemaFileError:
    with pytest.raises(SchemaFileError) as caught:
        compiled(package, schema)
    assert caught.value.remedy.endswith(".")
    return caught.value


def test_draft_2020_12_is_checked_in_full(tmp_path: Path) -> None:
    check = compiled(tmp_path, {"prefixItems": [{"const": "a"}], "items": {"type": "integer"}, "minItems": 2})
    assert check(["a", 1]) == []
    assert check(["a", "b"]) == [SchemaError("$[1]", "type", '"b" is not of type "integer"')]
    assert {error.keyword for error in check(["b"])} == {"const", "minItems"}


def test_another_draft_is_honoured(tmp_path: Path) -> None:
    draft7 = {"$schema": "http://json-schema.org/draft-07/schema#", "items": [{"type": "string"}]}
    check = compiled(tmp_path, draft7)
    assert check(["a", 1]) == []
    assert check([1]) != []


def test_subset_mode_ignores_what_the_reference_system_ignored(tmp_path: Path) -> None:
    schema = {"type": "object", "additionalProperties": False}
    assert compiled(tmp_path, schema)({"a": 1}) != []
    assert compiled(tmp_path, schema, is_subset=True)({"a": 1}) == []


def test_an_errors_path_leads_to_the_value(tmp_path: Path) -> None:
    schema: dict[str, Any] = {"properties": {"a": {"items": {"properties": {"b c": {"type": "string"}, "d": False}}}}}
    errors = compiled(tmp_path, schema)({"a": [{"b c": 1, "d": 2}]})
    assert {(error.path, error.keyword) for error in errors} == {('$.a[0]["b c"]', "type"), ("$.a[0].d", "properties")}


def test_a_byte_order_mark_is_no_part_of_a_schema(tmp_path: Path) -> None:
    assert compiled(tmp_path, b'\xef\xbb\xbf{"type": "string"}')("x") == []


@pytest.mark.parametrize(
    ("schema", "message", "line"),
    [
        (b"", "the schema is not JSON: Expecting value (column 1)", 1),
        (b'{\n "type": }', "the schema is not JSON: Expecting value (column 10)", 2),
        (b'{"maximum": NaN}', "the schema cannot be used: NaN is not JSON", None),
        (b"\xff", "the schema is not UTF-8", None),
        (b"[]", "the schema is not a JSON object", None),
        (b"true", "the schema is not a JSON object", None),
        (b'{"type": "strin"}', "not a usable JSON Schema: ", None),
        (b'{"pattern": "("}', 'not a usable JSON Schema: "(" is not a "regex"', None),
        (b'{"$ref": "#/nowhere"}', "not a usable JSON Schema: Pointer '/nowhere' does not exist", None),
        (
            b'{"$schema": "https://nowhere.invalid/s"}',
            "the schema refers to https://nowhere.invalid/s, and nothing",
            None,
        ),
        (b'{"items":' * 2000 + b"{}" + b"}" * 2000, "", None),
        (b'{"maximum": ' + b"9" * 5000 + b"}", "the schema cannot be used: Exceeds the limit", None),
    ],
)
def test_a_schema_that_cannot_be_used_is_refused(tmp_path: Path, schema: bytes, message: str, line: int | None) -> None:
    error = refused(tmp_path, schema)
    assert error.message.startswith(message)
    assert (error.file, error.line) == (str(tmp_path / "schemas" / "event.json"), line)


def test_references_lead_to_files_of_the_package(tmp_path: Path) -> None:
    (tmp_path / "common").mkdir()
    (tmp_path / "common" / "a tag.json").write_text('{"$defs": {"tag": {"type": "string"}}}')
    check = compiled(tmp_path, {"properties": {"tag": {"$ref": "../common/a%20tag.json#/$defs/tag"}}})
    assert check({"tag": "v1"}) == []
    assert check({"tag": 1}) == [SchemaError("$.tag", "type", '1 is not of type "string"')]


def test_a_meta_schema_may_be_referred_to(tmp_path: Path) -> None:
    check = compiled(tmp_path, {"$ref": "https://json-schema.org/draft/2020-12/schema"})
    assert check({"type": "string"}) == []
    assert check({"type": 5}) != []


def test_a_reference_out_of_the_package_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.json").write_text("{}")
    package = tmp_path / "package"
    package.mkdir()
    os.symlink(tmp_path / "secret.json", package / "link.json")
    for reference in ("../../secret.json", f"file://{tmp_path}/secret.json", "../link.json"):
        error = refused(package, {"$ref": reference})
        assert error.message.startswith("$ref leads out of the package")
        assert error.file == str(package / "schemas" / "event.json")


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "http://127.0.0.1:9/x.json"},
        {"$ref": "//127.0.0.1/x.json"},
        {"$id": "https://nowhere.invalid/a.json", "$ref": "b.json"},
    ],
)
def test_a_reference_to_the_network_is_refused_unfetched(tmp_path: Path, schema: dict[str, str]) -> None:
    assert "and nothing is fetched" in refused(tmp_path, schema).message


def test_a_missing_or_broken_reference_names_its_file(tmp_path: Path) -> None:
    other = str(tmp_path / "schemas" / "other.json")
    missing = refused(tmp_path, {"$ref": "other.json"})
    assert (missing.file, missing.message) == (other, "the schema cannot be read: No such file or directory")
    Path(other).write_text("{\n")
    broken = refused(tmp_path, {"$ref": "other.json"})
    assert (broken.file, broken.line) == (other, 2)


@pytest.mark.parametrize("reference", ["#", "event.json"])
def test_a_schema_may_refer_to_itself(tmp_path: Path, reference: str) -> None:
    check = compiled(tmp_path, {"type": "object", "properties": {"a": {"$ref": reference}}})
    assert check({"a": {"a": {}}}) == []
    assert check({"a": {"a": 1}})[0].path == "$.a.a"


def nested(depth: int) -> object:
    value: object = None
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("schema", [{}, {"type": "boolean"}, {"items": {"$ref": "#"}}])
@pytest.mark.parametrize("depth", [256, 1_000, 200_000])
def test_a_payload_nested_too_deeply_does_not_match(tmp_path: Path, schema: dict[str, Any], depth: int) -> None:
    payload = nested(depth)
    assert compiled(tmp_path, schema)(payload)[0].message == "the payload is nested deeper than 255 levels"


def test_a_payload_nested_deeply_is_checked(tmp_path: Path) -> None:
    assert compiled(tmp_path, {"type": ["array", "null"], "items": {"$ref": "#"}})(nested(250)) == []
    assert compiled(tmp_path, {"type": "object"})(nested(250))[0].keyword == "type"


@pytest.mark.parametrize(
    "payload",
    ["\ud800", {"\ud800": 1}, {1: 2}, object(), {"a": {1, 2}}],
    ids=["half a character", "half a character as a key", "a number as a key", "an object", "a set"],
)
def test_what_is_no_json_does_not_match_and_does_not_raise(tmp_path: Path, payload: object) -> None:
    (error,) = compiled(tmp_path, {"type": "boolean"})(payload)
    assert error.path == "$"
    assert error.message


def test_huge_numbers_are_checked(tmp_path: Path) -> None:
    check = compiled(tmp_path, {"type": "integer", "minimum": 5})
    assert check(10**400) == []
    (error,) = check(-(10**400))
    assert error.keyword == "minimum"
    assert len(error.message) < 310


def test_a_message_never_carries_a_large_payload(tmp_path: Path) -> None:
    check = compiled(tmp_path, {"type": "object", "required": ["tag"]})
    (error,) = check("x" * 5_000_000)
    assert len(error.message) < 310
    assert error.message.endswith('is not of type "object"')
    (error,) = compiled(tmp_path, {"properties": {"k" * 5_000: {"type": "string"}}})({"k" * 5_000: 1})
    assert len(error.path) < 310


def test_errors_are_bounded_in_number(tmp_path: Path) -> None:
    check = compiled(tmp_path, {"items": {"type": "string"}})
    assert len(check(list(range(100)))) == 20
    assert len(check(list(range(1_000_000)))) == 1, "of so large a payload the first alone: all of them take seconds"


@pytest.mark.parametrize("pattern", ["^(a+)+$", "^(a|aa)+$"])
def test_a_pattern_runs_in_linear_time(tmp_path: Path, pattern: str) -> None:
    check = compiled(tmp_path, {"type": "string", "pattern": pattern})
    assert check("aaaa") == []
    assert check("a" * 5_000 + "!") != []  # with backtracking, not before the universe ends


def test_look_around_is_understood(tmp_path: Path) -> None:
    check = compiled(tmp_path, {"pattern": "^(?!x)a"})
    assert check("a") == []
    assert check("xa") != []


@pytest.mark.parametrize(
    ("draft", "formats"),
    [("", ("date-time", "uri")), ("https://json-schema.org/draft/2019-09/schema", ("date-time", "uri"))]
    + [(f"http://json-schema.org/draft-0{number}/schema#", ()) for number in (4, 6, 7)],
)
def test_a_format_that_is_not_checked_is_told(tmp_path: Path, draft: str, formats: tuple[str, ...]) -> None:
    schema = {
        "properties": {"at": {"format": "date-time"}, "format": {"enum": ["x"], "default": {"format": "no"}}},
        "definitions": {"link": {"format": "uri"}},
    }
    check = checked(tmp_path, {"$schema": draft, **schema} if draft else schema)
    assert check.unchecked_formats == formats
    assert check.run is not None
    assert bool(check.run({"at": "yesterday"})) is not bool(formats)
