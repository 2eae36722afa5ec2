"""Writes what documentation and editors need of the shapes of files: tables of their keys, and JSON Schemas."""

import json
from collections.abc import Iterator
from typing import Any

from flowd import schemas
from flowd.catalog.shapes import FlowTable, StepTable
from flowd.catalog.step_shapes import InputTable
from flowd.formats import json_schema, toml
from flowd.formats.typed import Field, Struct, expected, fields_of
from flowd.settings.tables import Tables
from flowd.settings.values import Simple

_ABOUT = (
    "Settings of flowd: <workspace>/.codex/flowd.toml, and the user's ~/.config/flowd/config.toml. "
    "`flowd validate` checks them, and `flowd status --config` shows what counts."
)

_ABOUT_FLOWS = "A flow package: flows/NAME/flow.toml, or .codex/flows/NAME/flow.toml. `flowd validate` checks it."


def written() -> dict[str, str]:
    """The text of each schema by its name."""
    made = {
        "flow": json_schema.document(FlowTable, title="flow.toml", about=_ABOUT_FLOWS),
        "settings": json_schema.document(Tables, title="flowd.toml", about=_ABOUT),
    }
    return {name: f"{json.dumps(schema, ensure_ascii=False, indent=2)}\n" for name, schema in made.items()}


def shapes() -> dict[str, type[Struct]]:
    """The tables of a settings file by the names that they have in the page."""
    fields = fields_of(Tables)
    found = {"settings": Simple, **{name: shape for name, field in fields.items() if (shape := _shape(field))}}
    found["http_tokens"] = _needed(fields_of(found["http"])["tokens"])
    found["retention_rules"] = _needed(fields_of(found["retention"])["rules"])
    return found


def keys() -> dict[str, type[Struct]]:
    """The tables of a ``flow.toml`` by the names that they have in the page."""
    step = fields_of(StepTable)
    flow = fields_of(FlowTable)
    return {
        "flow": FlowTable,
        "step": StepTable,
        "input": InputTable,
        **{name: _needed(step[name]) for name in ("trigger", "retry", "debounce", "concurrency", "limits")},
        **{name: _needed(flow[name]) for name in ("schedules", "watches")},
    }


def rows(name: str) -> Iterator[tuple[str, ...]]:
    """A table of the page: each setting, what it may be, what it is by default, and what it is for."""
    fields = fields_of({**shapes(), **keys()}[name])
    if name == "settings":  # and those that are no table beside them
        others = fields_of(Tables).items()
        fields = {**fields, **{name: field for name, field in others if name not in fields and not _shape(field)}}
    for field in fields.values():
        if not _shape(field):
            yield _row(field)


def _row(field: Field) -> tuple[str, ...]:
    ways = [f"`{way}`" for way in (*field.about.variables, *filter(None, [field.about.flag]))]
    text = field.about.text + (f" Also by {', '.join(ways)}." if ways else "")
    return f"`{field.name}`", _escaped(expected(field.type)), _default(field), _escaped(text)


def _default(field: Field) -> str:
    if field.is_required:
        return "needed"
    if field.about.default is not None:
        return field.about.default
    return "-" if field.default in (None, (), "") else f"`{toml.spelled(_plain(field.default))}`"


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


def _shape(field: Field) -> type[Struct] | None:
    return field.kind.table or field.kind.tables_by_name or field.kind.tables_in_list


def _needed(field: Field) -> type[Struct]:
    shape = _shape(field)
    assert shape is not None
    return shape


def write() -> None:
    """Bring the schemas up to date."""
    for name, text in written().items():
        schemas.path(name).write_text(text, encoding="utf-8")
