"""Which schemas are surely cheap, by their text alone."""

from typing import Any

import pytest

from flowd.catalog.schema_weight import Weight, weigh


def weight(schema: dict[str, Any]) -> Weight:
    def load(document: str, reference: str) -> tuple[str, object]:
        raise AssertionError(reference)

    return weigh("s", schema, load)


RELEASE = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$id": "https://example.com/release.json",
    "$defs": {"tag": {"type": "string", "pattern": r"^v\d+\.\d+\.\d+$"}},
    "type": "object",
    "required": ["repo", "tag"],
    "properties": {
        "repo": {"type": "string", "minLength": 1, "maxLength": 200},
        "tag": {"$ref": "#/$defs/tag"},
        "others": {"type": "array", "items": {"$ref": "#/$defs/tag"}},
        "kind": {"enum": ["release", "tag"]},
    },
    "additionalProperties": False,
}


def test_what_people_write_for_events_is_cheap() -> None:
    assert weight(RELEASE).why_costly is None
    assert weight(RELEASE).units < 200


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({"items": {"$ref": "#"}}, "refers to itself"),
        ({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}, "refers to itself"),
        ({"$dynamicRef": "#x"}, "uses $dynamicRef"),
        ({"properties": {"a": {"$id": "b.json"}}}, "uses $id"),
        ({"$anchor": "a", "not": {"$ref": "#a"}}, "refers to #a, which flowd does not follow by itself"),
        ({"$ref": "https://json-schema.org/draft/2020-12/schema"}, "refers to schemas by their addresses"),
        ({"$schema": "https://example.com/mine"}, "is written in a dialect of its own"),
        ({"items": {"format": "regex"}}, 'takes patterns from payloads (format "regex")'),
        ({"pattern": r"^(?:\w{1,50}-){1,50}$"}, "asks for very many checks of one value"),
        ({"$defs": {str(n): {"pattern": r"\w{1,90}"} for n in range(99)}}, "has large patterns"),
        ({"enum": [[1] * 200_000]}, "asks for very many checks of one value"),
    ],
)
def test_what_may_take_long_is_costly(schema: dict[str, Any], why: str) -> None:
    assert weight(schema).why_costly == why


@pytest.mark.parametrize("keyword", ["allOf", "anyOf", "oneOf"])
def test_references_that_double_are_counted_as_often_as_they_are_followed(keyword: str) -> None:
    defs: dict[str, Any] = {"d0": {}}
    for level in range(1, 41):
        defs[f"d{level}"] = {keyword: [{"$ref": f"#/$defs/d{level - 1}"}] * 2}
    assert weight({"$defs": defs, "$ref": "#/$defs/d5"}).units > 2**5
    assert weight({"$defs": defs, "$ref": "#/$defs/d40"}).why_costly == "asks for very many checks of one value"


def test_deep_nesting_is_costly() -> None:
    schema: dict[str, Any] = {}
    for _ in range(200):
        schema = {"not": schema}
    assert weight(schema).why_costly == "is nested deeply"
