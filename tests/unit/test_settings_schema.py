"""The JSON Schema of settings files says what their reader says; and is up to date."""

import json
import re
import tomllib
from pathlib import Path

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from docs import shapes_reference
from flowd import schemas
from flowd.formats import toml
from flowd.formats.typed import Field, Struct, fields_of
from flowd.settings.files import check_text
from flowd.settings.tables import Tables

CHECKOUT = Path(__file__).parents[2]
FILE = Path("/w/.codex/flowd.toml")
SCHEMA = jsonschema_rs.validator_for(json.loads(schemas.text("settings")))

_BEYOND = {"invalid-value"}
"""What depends on several values, or on more than a pattern says."""

_values = st.recursive(
    st.sampled_from(["x", "", "8080", "90d", "5GB", "/p", "read", "failed", "github", "a" * 64, "sqlite"])
    | st.sampled_from([True, False, 0, 1, -1, 65536, 10**9, 1.5, 10**13]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["pointer", "/a"]), inner, max_size=2),
    max_leaves=3,
)


def _value(field: Field) -> st.SearchStrategy[object]:
    kind = field.kind
    if kind.table is not None:
        return _table(kind.table) | _values
    if kind.tables_by_name is not None:
        return st.dictionaries(st.sampled_from(["a", "b c"]), _table(kind.tables_by_name), max_size=2) | _values
    if kind.tables_in_list is not None:
        return st.lists(_table(kind.tables_in_list), max_size=2) | _values
    examples = [tomllib.loads(f"it = {field.about.example}")["it"]] if field.about.example else []
    examples += list(kind.args) if kind.base.__class__.__name__ == "_LiteralSpecialForm" or field.is_required else []
    examples = [example for example in examples if isinstance(example, str | int | list | dict)]
    return (st.sampled_from(examples) | _values) if examples else _values


def _table(shape: type[Struct]) -> st.SearchStrategy[dict[str, object]]:
    fields = fields_of(shape)
    known = {name: _value(field) for name, field in fields.items()}
    needed = {name: value for name, value in known.items() if fields[name].is_required}
    return st.builds(
        lambda some, all_needed, more: {**(needed and all_needed), **some, **more},
        st.lists(st.sampled_from(list(known)), max_size=3, unique=True).flatmap(
            lambda names: st.fixed_dictionaries({name: known[name] for name in names})
        ),
        st.fixed_dictionaries(needed) | st.just({}),
        st.just({}) | st.dictionaries(st.sampled_from(["max_paralel", "flow"]), _values, max_size=1),
    )


@settings(max_examples=150, deadline=None)
@given(_table(Tables))
def test_what_the_schema_refuses_the_reader_tells_and_the_other_way_round(members: dict[str, object]) -> None:
    text = "".join(f"{toml.key(name)} = {toml.spelled(value)}\n" for name, value in members.items())
    told = {finding.code for finding in check_text(FILE, text.encode()).findings}
    if SCHEMA.is_valid(json.loads(json.dumps(tomllib.loads(text)))):
        assert told <= _BEYOND, text
    else:
        assert told, text


def test_the_schemas_are_up_to_date() -> None:
    for name, text in shapes_reference.written().items():
        assert schemas.text(name) == text, "run `make docs`"


def test_every_setting_says_what_it_is_for_and_has_an_example_that_its_reader_takes() -> None:
    for name, shape in shapes_reference.shapes().items():
        for field in fields_of(shape).values():
            about = field.about
            assert re.fullmatch(r"[A-Z`].*[.:]", about.text), (name, field.name, about.text)
            assert about.example is None or tomllib.loads(f"it = {about.example}"), (name, field.name)
            assert about.default or field.default is not None or field.kind.base is not bool, (name, field.name)


@pytest.mark.parametrize("page", sorted((CHECKOUT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_the_settings_files_of_the_documentation_are_right(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^```toml\n(.*?)^```", text.replace("…", "a" * 64), re.MULTILINE | re.DOTALL)
    found = [block for block in blocks if is_of_settings(block)]
    for block in found:
        assert check_text(FILE, block.encode()).findings == (), block
        assert SCHEMA.is_valid(json.loads(json.dumps(tomllib.loads(block), default=str))), block
    assert found or page.name not in ("settings.md", "http.md", "keeping.md", "notices.md")


def is_of_settings(block: str) -> bool:
    """Whether a block is of a settings file, and not of a package."""
    members = tomllib.loads(block)
    return bool(members) and members.keys() <= fields_of(Tables).keys()
