"""The reference system's payload check: the four keywords ``type``, ``required``, ``properties`` and ``enum``.

For packages whose schemas carry other keywords that were never checked (``schema_mode = "subset"``). Numbers are
compared as JavaScript has them: all are doubles, ``1`` is ``1.0``, ``-0.0`` is not ``0``.
"""

import json
import math
from collections.abc import Callable, Mapping

from flowd.domain.payload_check import SchemaError

MAX_ERRORS = 20


def compile_subset(schema: Mapping[str, object]) -> Callable[[object], list[SchemaError]]:
    """A check by the four keywords; everything else in the schema counts for nothing.

    >>> check = compile_subset({"required": ["a"], "properties": {"a": {"type": "integer"}}, "minProperties": 9})
    >>> check({"a": 1.0})
    []
    >>> check({})
    [SchemaError(path='$.a', keyword='required', message='is required')]
    """

    def check(payload: object) -> list[SchemaError]:
        errors: list[SchemaError] = []
        try:
            _check(payload, schema, "$", errors)
        except RecursionError:
            errors.append(SchemaError("$", "", "is nested too deeply to be checked"))
        return errors[:MAX_ERRORS]

    return check


def _check(value: object, schema: Mapping[str, object], path: str, errors: list[SchemaError]) -> None:
    options = schema.get("enum")
    if isinstance(options, list) and not any(_is_same(option, value) for option in options):
        errors.append(SchemaError(path, "enum", f"must be one of {_listed(options)}"))
        return
    kind = schema.get("type")
    if (kind or isinstance(kind, list)) and not _has_type(value, kind):
        errors.append(SchemaError(path, "type", f"must be {_types(kind)}"))
        return
    properties = schema.get("properties")
    # Without either of these two, `required` is not looked at, not even under a list of types.
    if isinstance(value, dict) and (kind == "object" or isinstance(properties, dict)):
        _check_members(value, schema.get("required"), properties, path, errors)


def _check_members(
    value: Mapping[str, object], required: object, properties: object, path: str, errors: list[SchemaError]
) -> None:
    needed = [key for key in required if isinstance(key, str)] if isinstance(required, list) else []
    errors += [SchemaError(f"{path}.{key}", "required", "is required") for key in needed if key not in value]
    for key, below in properties.items() if isinstance(properties, dict) else ():
        if key in value and isinstance(below, dict) and len(errors) < MAX_ERRORS:
            _check(value[key], below, f"{path}.{key}", errors)


def _is_same(option: object, value: object) -> bool:
    """Identity of primitives; arrays and objects are never the same."""
    if _is_number(option) and _is_number(value):
        a, b = _double(option), _double(value)
        return (a == b and math.copysign(1, a) == math.copysign(1, b)) or (math.isnan(a) and math.isnan(b))
    if isinstance(option, dict | list) or type(option) is not type(value):
        return False
    return option == value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _double(value: object) -> float:
    try:
        return float(value) if isinstance(value, int | float) else math.nan
    except OverflowError:
        return math.inf if isinstance(value, int) and value > 0 else -math.inf


_TYPES: dict[str, Callable[[object], bool]] = {
    "array": lambda value: isinstance(value, list | tuple),
    "null": lambda value: value is None,
    "integer": lambda value: _is_number(value) and _double(value).is_integer(),
    "object": lambda value: isinstance(value, dict),
    "number": _is_number,
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
}


def _has_type(value: object, kind: object) -> bool:
    for name in kind if isinstance(kind, list) else [kind]:
        fits = _TYPES.get(name) if isinstance(name, str) else None
        if fits is not None and fits(value):
            return True
    return False


def _types(kind: object) -> str:
    names = kind if isinstance(kind, list) else [kind]
    return " or ".join(str(name) for name in names)[:300] or "of no type"


def _listed(options: list[object]) -> str:
    texts = [option if isinstance(option, str) else json.dumps(option, default=str)[:80] for option in options[:20]]
    return (", ".join(texts) or "nothing")[:300]
