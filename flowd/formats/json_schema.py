"""Writes the JSON Schema (draft 7, which editors of TOML read) of a file whose shape is a `Struct`."""

import re
from collections.abc import Mapping
from typing import Any, Literal, Union

from flowd.formats.typed import Field, Kind, Meta, Struct, expected, fields_of, kind_of

DRAFT = "http://json-schema.org/draft-07/schema#"

_LINK = re.compile(r"\[[^\]]+\]\(([^)]+)\)")
_TYPES: Mapping[Any, str] = {bool: "boolean", int: "integer", float: "number", str: "string", dict: "object"}
_LIMITS: Mapping[str, tuple[str, str]] = {
    "string": ("minLength", "maxLength"),
    "array": ("minItems", "maxItems"),
    "object": ("minProperties", "maxProperties"),
}


def document(shape: type[Struct], *, title: str, about: str) -> dict[str, Any]:
    """The schema of a whole file."""
    return {"$schema": DRAFT, "title": title, "description": about, **table(shape)}


def table(shape: type[Struct]) -> dict[str, Any]:
    """The schema of a table. What it has to have one of, its ``ONE_OF`` and ``ANY_OF`` say."""
    fields = fields_of(shape)
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {name: _member(field) for name, field in fields.items()},
        "additionalProperties": False,
    }
    if required := [field.name for field in fields.values() if field.is_required]:
        schema["required"] = required
    for keyword, names in (("oneOf", getattr(shape, "ONE_OF", ())), ("anyOf", getattr(shape, "ANY_OF", ()))):
        if names:
            schema[keyword] = [{"required": [name]} for name in names]
    return schema


def _member(field: Field) -> dict[str, Any]:
    schema = _value(field.kind)
    if text := _description(field):
        schema["description"] = text
    if field.about.default is None and isinstance(field.default, str | int | float) and field.default != "":
        schema["default"] = field.default
    return schema


def _description(field: Field) -> str:
    about, kind = field.about, field.kind
    said = [_LINK.sub(r"docs/\1", about.text)]
    if kind.table is None and kind.base is not Literal and (kind.meta.description or kind.meta.ge is not None):
        said.append(f"Must be {expected(field.type)}.")
    if about.default is not None:
        said.append(f"Default: {about.default}.")
    return " ".join(filter(None, said))


def _value(kind: Kind) -> dict[str, Any]:
    if kind.table is not None:
        return table(kind.table)
    if kind.base is Union:
        return {"anyOf": [_value(kind_of(arg)) for arg in kind.args]}
    if kind.base is Literal:
        return {"enum": list(kind.args)}
    if kind.base in (list, tuple):
        return {"type": "array", "items": _value(kind_of(kind.args[0])), **_limits("array", kind.meta)}
    if kind.base is dict:
        return {"type": "object", **_dict(kind), **_limits("object", kind.meta)}
    if kind.base not in _TYPES:
        return {}
    name = _TYPES[kind.base]
    return {"type": name, **_limits(name, kind.meta)}


def _dict(kind: Kind) -> dict[str, Any]:
    if not kind.args:
        return {}
    name, value = map(kind_of, kind.args)
    schema = {"additionalProperties": _value(value) or True}
    return schema if name.meta.pattern is None else {"propertyNames": {"pattern": name.meta.pattern}, **schema}


def _limits(name: str, meta: Meta) -> dict[str, Any]:
    shortest, longest = _LIMITS.get(name, ("", ""))
    said = {
        "exclusiveMinimum": meta.gt,
        "minimum": meta.ge,
        "maximum": meta.le,
        "pattern": meta.pattern,
        shortest: meta.min_length,
        longest: meta.max_length,
    }
    return {key: value for key, value in said.items() if key and value is not None}
