"""Costly schemas: told by their text, and compiled and checked in a process that can be killed."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flowd.catalog.schema_files import SchemaFileError
from flowd.catalog.schema_process import SchemaProcess
from flowd.catalog.schemas import compile_schema
from flowd.domain.matching import Answer
from flowd.domain.payload_check import PayloadCheck, SchemaSource

# Far more than the innocent checks here need, far less than the hostile ones do.
BUDGET_S = 0.3


@pytest.fixture
def process() -> Iterator[SchemaProcess]:
    with SchemaProcess() as started:
        yield started


def doubled(depth: int, innermost: dict[str, Any], keyword: str = "anyOf", **others: Any) -> dict[str, Any]:
    """A schema that refers twice to one that refers twice to one, and so on."""
    defs: dict[str, Any] = {"d0": innermost}
    for level in range(1, depth + 1):
        reference = {"$ref": f"#/$defs/d{level - 1}"}
        defs[f"d{level}"] = {keyword: [reference, reference], **others}
    return {"$defs": defs, "properties": {"a": {"$ref": f"#/$defs/d{depth}"}}}


HOSTILE = {
    "look-around": (
        {"properties": {"tags": {"contains": {"pattern": r"^(?:(?!--)\w+-?)*$"}}}},
        {"tags": ["a" * 40 + "!"] * 1_200},
    ),
    "references": (doubled(27, {"type": "string"}), {"a": 1}),
    "itself": (
        {"$defs": {"n": {"anyOf": [{"items": {"$ref": "#/$defs/n"}}] * 2, "type": "array"}}, "$ref": "#/$defs/n"},
        json.loads("[" * 60 + "1" + "]" * 60),
    ),
    "unevaluated": (
        doubled(11, {"properties": {"a": {}}}, "allOf", unevaluatedProperties=False),
        {"a": {"a": 1}},
    ),
    "not": ({"not": {"pattern": r"^(?:(?!--)\w+-?)*$"}}, "a" * 60 + "!"),
}


def check_of(package: Path, schema: Any, process: SchemaProcess) -> PayloadCheck:
    package.mkdir(exist_ok=True)
    path = package / "s.json"
    path.write_text(json.dumps(schema))
    return compile_schema(
        str(path), package=str(package), read=lambda file, _: Path(file).read_bytes(), elsewhere=process
    )


def source_of(package: Path, schema: Any, process: SchemaProcess) -> SchemaSource:
    check = check_of(package, schema, process)
    assert check.why_costly
    assert check.run is None
    assert check.source is not None
    return check.source


def asked(process: SchemaProcess, payload: Any, *sources: SchemaSource) -> list[Answer]:
    answers = process.check(sources, json.dumps({"payload": payload}).encode(), budget_s=BUDGET_S)
    return [answers[source.key] for source in sources]


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_schema_is_costly_and_ends_at_its_budget(tmp_path: Path, process: SchemaProcess, kind: str) -> None:
    schema, payload = HOSTILE[kind]
    (answer,) = asked(process, payload, source_of(tmp_path, schema, process))
    assert answer.errors is None
    assert answer.why.startswith("the check needs more than the 300 ms of CPU time")


def test_after_a_hostile_check_an_honest_one_is_made(tmp_path: Path, process: SchemaProcess) -> None:
    tree = {"properties": {"kids": {"items": {"$ref": "#"}}, "name": {"type": "string"}}}
    honest = source_of(tmp_path / "honest", tree, process)
    schema, payload = HOSTILE["references"]
    hostile = source_of(tmp_path / "hostile", schema, process)
    both = asked(process, payload, hostile, honest)
    assert both[0].errors is None
    # From now on the slow one comes last, so that the others have their answers before the process is lost.
    later = asked(process, payload, hostile, honest)
    assert later[0].errors is None
    assert later[1].errors == ()
    (wrong,) = asked(process, {"kids": [{"kids": [{"name": 1}]}]}, honest)
    assert wrong.errors is not None
    assert [error.path for error in wrong.errors] == ["$.kids[0].kids[0].name"]


def test_a_schema_that_does_not_compile_in_time_is_refused(tmp_path: Path, process: SchemaProcess) -> None:
    schema = doubled(27, {"type": "string"}, unevaluatedProperties=False)
    with pytest.raises(SchemaFileError) as caught:
        check_of(tmp_path, schema, process)
    assert caught.value.message == "the schema takes more than 2 s to compile"


def test_a_costly_schema_may_refer_to_other_files_of_its_package(tmp_path: Path, process: SchemaProcess) -> None:
    (tmp_path / "node.json").write_text('{"properties": {"next": {"$ref": "#"}, "name": {"$ref": "name.json"}}}')
    (tmp_path / "name.json").write_text('{"type": "string"}')
    source = source_of(tmp_path, {"$ref": "node.json"}, process)
    assert {os.path.basename(path) for path in source.documents} == {"s.json", "node.json", "name.json"}
    os.unlink(tmp_path / "name.json")  # what is checked by is what was read
    (fits, not_) = asked(process, {"next": {"name": "x"}}, source) + asked(process, {"next": {"name": 1}}, source)
    assert fits.errors == ()
    assert not_.errors


@pytest.mark.parametrize(
    ("reference", "message"),
    [("../out.json", "$ref leads out of the package"), ("none.json", "the schema cannot be read")],
)
def test_a_costly_schema_reads_no_other_file(
    tmp_path: Path, process: SchemaProcess, reference: str, message: str
) -> None:
    (tmp_path / "out.json").write_text("{}")
    schema = {"items": {"$ref": "#"}, "$anchor": "x", "allOf": [{"$ref": "#x"}, {"$ref": reference}]}
    with pytest.raises(SchemaFileError) as caught:
        check_of(tmp_path / "package", schema, process)
    assert caught.value.message.startswith(message)


def test_a_large_payload_is_checked_elsewhere_by_a_cheap_schema(tmp_path: Path, process: SchemaProcess) -> None:
    check = check_of(tmp_path, {"items": {"type": "integer"}}, process)
    assert check.why_costly is None
    assert check.source is not None
    fits, not_ = [1] * 100_000, [*[1] * 100_000, "x"]
    assert [bool(answer.errors) for payload in (fits, not_) for answer in asked(process, payload, check.source)] == [
        False,
        True,
    ]


def test_who_waits_is_answered_when_the_process_is_closed(tmp_path: Path) -> None:
    process = SchemaProcess()
    schema, payload = HOSTILE["references"]
    source = source_of(tmp_path, schema, process)
    process.close()
    (answer,) = asked(process, payload, source)
    assert answer == Answer(None, "flowd is being stopped, so nobody knows whether the payload fits")
