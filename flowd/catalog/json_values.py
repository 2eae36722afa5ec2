"""Turns values of TOML into those of JSON, for what steps are given as it stands in the manifest."""

import math
from datetime import date, datetime, time

from flowd.catalog.table import Table

MAX_DEPTH = 64
"""What is deeper would overflow the readers behind it."""

_INT64 = 2**63


def json_value(table: Table, value: object, what: str, depth: int = 0) -> object:
    """A TOML value as JSON has it: dates and times as ISO 8601 strings, what is no finite number as null.

    Args:
        table: The one that messages point to.
        what: How they name it.

    Raises:
        ManifestError: It is nested too deeply.
    """
    if depth > MAX_DEPTH:
        table.fail(None, f"{what} is nested deeper than {MAX_DEPTH} levels", "Flatten it.")
    match value:
        case dict():
            return {key: json_value(table, member, what, depth + 1) for key, member in value.items()}
        case list():
            return [json_value(table, item, what, depth + 1) for item in value]
        case bool() | str():
            return value
        case int():
            return value if -_INT64 <= value < _INT64 else _finite(narrow(value))
        case float():
            return _finite(value)
        case datetime() | date() | time():
            return value.isoformat().replace("+00:00", "Z")
        case _:
            return None


def narrow(value: object) -> float:
    """A number as the double that JSON readers make of it; infinite where none can hold it."""
    try:
        return float(value) if isinstance(value, int | float) else math.nan
    except OverflowError:
        return math.inf


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
