"""Where in a JSON Schema its subschemas stand, by keyword. Knows no draft: what any of them has is looked at."""

from collections.abc import Callable, Iterator, Mapping

SCHEMAS = frozenset(
    {
        "additionalItems",
        "additionalProperties",
        "allOf",
        "anyOf",
        "contains",
        "contentSchema",
        "else",
        "if",
        "items",
        "not",
        "oneOf",
        "prefixItems",
        "propertyNames",
        "then",
        "unevaluatedItems",
        "unevaluatedProperties",
    }
)
"""Keywords whose value is a schema or a list of schemas."""

MAPS = frozenset({"$defs", "definitions", "dependencies", "dependentSchemas", "patternProperties", "properties"})
"""Keywords whose value is an object of schemas by name."""

DATA = frozenset({"const", "default", "enum", "example", "examples"})
"""Keywords whose value is data, whatever it looks like."""


def children(schema: Mapping[str, object], keyword: str) -> Iterator[object]:
    """The schemas under one keyword of a schema; also what is none, for the compiler to refuse."""
    value = schema[keyword]
    if keyword in SCHEMAS:
        yield from value if isinstance(value, list) else (value,)
    elif keyword in MAPS and isinstance(value, dict):
        yield from value.values()


def transformed(schema: object, pattern: Callable[[str], str]) -> object:
    """The schema with every pattern replaced; the same object where nothing is. What a reference may lead to under an
    unknown keyword counts as a schema, too."""
    if isinstance(schema, list):
        items = [transformed(item, pattern) for item in schema]
        return items if any(new is not old for new, old in zip(items, schema, strict=True)) else schema
    if not isinstance(schema, dict):
        return schema
    changed: dict[str, object] = {}
    for keyword, value in schema.items():
        if keyword == "pattern" and isinstance(value, str):
            new: object = pattern(value)
        elif keyword in MAPS and isinstance(value, dict):
            new = _transformed_map(value, pattern, are_names_patterns=keyword == "patternProperties")
        else:
            new = value if keyword in DATA else transformed(value, pattern)
        if new is not value and new != value:
            changed[keyword] = new
    return {**schema, **changed} if changed else schema


def _transformed_map(
    schemas: dict[str, object], pattern: Callable[[str], str], *, are_names_patterns: bool
) -> dict[str, object]:
    new = {
        (pattern(name) if are_names_patterns else name): transformed(value, pattern) for name, value in schemas.items()
    }
    return schemas if new == schemas else new


def every(schema: object) -> Iterator[Mapping[str, object]]:
    """The schema and all below it, wherever a reference may lead to."""
    left = [schema]
    while left:
        value = left.pop()
        if isinstance(value, list):
            left += value
        elif isinstance(value, dict):
            yield value
            for keyword, below in value.items():
                if keyword in MAPS and isinstance(below, dict):
                    left += below.values()
                elif keyword not in DATA:
                    left.append(below)
