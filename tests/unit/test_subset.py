"""The reference system's four keywords, by its own behaviour."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowd.catalog.subset import MAX_ERRORS, compile_subset
from flowd.domain.payload_check import SchemaError


def fits(schema: dict[str, Any], value: object) -> bool:
    return compile_subset(schema)(value) == []


def test_the_reference_systems_own_example_gives_its_two_errors_in_order() -> None:
    schema = {
        "type": "object",
        "required": ["name", "kind"],
        "properties": {"name": {"type": "string"}, "kind": {"enum": ["release", "tag"]}},
    }
    assert compile_subset(schema)({"kind": "other"}) == [
        SchemaError("$.name", "required", "is required"),
        SchemaError("$.kind", "enum", "must be one of release, tag"),
    ]


@pytest.mark.parametrize(
    "ignored",
    [
        {"items": {"type": "string"}},
        {"additionalProperties": False},
        {"const": 1},
        {"allOf": [False]},
        {"not": {}},
        {"$ref": "http://nowhere.invalid/x"},
        {"minProperties": 99},
        {"required": ["a"]},
        {"type": ["object", "null"], "required": ["a"]},
        {"properties": {"x": False}},
        {"properties": {"x": None}},
        {"type": "", "enum": None},
    ],
)
def test_everything_else_counts_for_nothing(ignored: dict[str, Any]) -> None:
    assert fits(ignored, {"x": 1})


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("array", [[]], [{}, "x", None]),
        ("null", [None], [0, False, ""]),
        ("integer", [1, 1.0, -3, 1e300], [1.5, True, "1", float("inf"), 10**400]),
        ("object", [{}], [[], None, "x"]),
        ("number", [1, 1.5, 10**400], [True, "1", None]),
        ("string", ["", "x"], [1, None]),
        ("boolean", [True, False], [0, 1, None]),
        ("date", [], ["x", None, {}]),
        (["string", "null"], ["x", None], [1, {}]),
        ([], [], [None, 1]),
        (5, [], [5]),
    ],
)
def test_types_are_javascripts(kind: object, good: list[object], bad: list[object]) -> None:
    assert all(fits({"type": kind}, value) for value in good)
    assert not any(fits({"type": kind}, value) for value in bad)


@pytest.mark.parametrize(
    ("option", "value", "is_same"),
    [
        (1, 1.0, True),
        (1, True, False),
        (0, False, False),
        (0.0, -0.0, False),
        (None, None, True),
        ("a", "a", True),
        ("a", "A", False),
        ([1], [1], False),
        ({}, {}, False),
        (2**53, 2**53 + 1, True),
        (10**400, 10**401, True),
        (10**400, -(10**400), False),
    ],
)
def test_enum_compares_primitives_by_identity(option: object, value: object, *, is_same: bool) -> None:
    assert fits({"enum": [option]}, value) is is_same


def test_an_empty_enum_rejects_everything() -> None:
    assert compile_subset({"enum": []})(1) == [SchemaError("$", "enum", "must be one of nothing")]


def test_enum_is_checked_before_type_and_ends_the_check() -> None:
    errors = compile_subset({"enum": ["x"], "type": "string"})(5)
    assert [error.keyword for error in errors] == ["enum"]


def test_null_counts_as_present() -> None:
    assert fits({"type": "object", "required": ["a"]}, {"a": None})


def test_a_members_error_names_its_path() -> None:
    schema = {"properties": {"a": {"properties": {"b": {"type": ["string", "null"]}}}}}
    assert compile_subset(schema)({"a": {"b": 1}}) == [SchemaError("$.a.b", "type", "must be string or null")]


def test_errors_are_bounded() -> None:
    schema = {"properties": {str(number): {"type": "string"} for number in range(100)}}
    assert len(compile_subset(schema)({str(number): 1 for number in range(100)})) == MAX_ERRORS


def test_endless_nesting_is_a_mismatch_and_no_exception() -> None:
    schema: dict[str, Any] = {}
    schema["properties"] = {"a": schema}
    value: dict[str, Any] = {}
    value["a"] = value
    assert compile_subset(schema)(value) == [SchemaError("$", "", "is nested too deeply to be checked")]


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "c"]), inner, max_size=3),
    max_leaves=8,
)
_types = st.sampled_from(["array", "null", "integer", "object", "number", "string", "boolean", "odd"])
_schemas = st.recursive(
    st.fixed_dictionaries(
        {}, optional={"type": _types | st.lists(_types, max_size=2), "enum": st.lists(_json, max_size=3)}
    ),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "type": _types,
            "required": st.lists(st.sampled_from(["a", "b", "c"]), max_size=2) | _json,
            "properties": st.dictionaries(st.sampled_from(["a", "b", "c"]), inner | _json, max_size=2) | _json,
        },
    ),
    max_leaves=6,
)


@given(_schemas, _json)
def test_any_schema_and_payload_give_a_list(schema: dict[str, Any], payload: object) -> None:
    errors = compile_subset(schema)(payload)
    assert all(error.path.startswith("$") and error.message for error in errors)


@given(_schemas, _json)
def test_a_schema_that_requires_nothing_takes_everything(schema: dict[str, Any], payload: object) -> None:
    only = {key: value for key, value in schema.items() if key not in {"type", "enum", "properties"}}
    assert fits(only, payload)


@given(_json)
def test_every_value_has_at_least_one_type(payload: object) -> None:
    names = ["array", "null", "object", "number", "string", "boolean"]
    assert sum(fits({"type": name}, payload) for name in names) == 1
