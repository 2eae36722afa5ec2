"""The JSON Schema of ``flow.toml`` says what its reader says, on the packages that are here and on generated ones."""

import json
import math
import re
import tomllib
from pathlib import Path
from typing import Any

import documentation
import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowd import schemas
from flowd.catalog.manifest import RefusedManifestError, parse
from flowd.catalog.shapes import FlowTable
from flowd.domain.finding import Finding
from flowd.formats import toml
from flowd.formats.typed import Field, Kind, Struct, fields_of, kind_of

SCHEMA = jsonschema_rs.validator_for(json.loads(schemas.text("flow")))
CHECKOUT = documentation.CHECKOUT

BEYOND = {"invalid-value", "doubtful-value", "duplicate-name", "never-runs", "needs-circle", "unknown-step"}
"""Codes of what depends on several values, on this machine, or on more than a pattern says."""

_odd = st.recursive(
    st.sampled_from(["x", "", " ", "a\nb", "5m", "/p", "p", "release.*", "bun", "exec"])
    | st.sampled_from([True, False, 0, 1, -1, 1.5, 65536, 10**9, 10**13]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["pointer", "a"]), inner, max_size=2),
    max_leaves=3,
)


def table(shape: type[Struct]) -> st.SearchStrategy[dict[str, Any]]:
    """Tables of a shape, most of them right."""
    fields = fields_of(shape)
    needed = {name: right(field) for name, field in fields.items() if field.is_required}
    others = [name for name, field in fields.items() if not field.is_required]

    def more(names: list[str]) -> st.SearchStrategy[dict[str, Any]]:
        return st.fixed_dictionaries({**needed, **{name: right(fields[name]) for name in names}})

    return st.lists(st.sampled_from(others), max_size=2, unique=True).flatmap(more) if others else more([])


def right(field: Field) -> st.SearchStrategy[Any]:
    """Values that a member may have."""
    example = field.about.example
    if field.kind.table is None and field.kind.tables_in_list is None and example is not None:
        return st.sampled_from([tomllib.loads(f"it = {example}")["it"]]) | of_kind(field.kind)
    return of_kind(field.kind)


def of_kind(kind: Kind) -> st.SearchStrategy[Any]:
    if kind.table is not None:
        return table(kind.table)
    if kind.tables_in_list is not None:
        return st.lists(table(kind.tables_in_list), min_size=1, max_size=2)
    if kind.base in (list, tuple):
        return st.lists(of_kind(kind_of(kind.args[0])), max_size=2)
    if kind.base is bool:
        return st.booleans()
    if kind.base in (int, float):
        low, high = kind.meta.ge or 0, kind.meta.le or 10
        middle = max(low, min(high, 50_000))
        return st.sampled_from([low, high, *[middle] * 8, low - 1, high + 1])
    if kind.base.__class__.__name__ == "_LiteralSpecialForm":
        return st.sampled_from(kind.args)
    if "Pointer" in (kind.meta.description or ""):
        return st.sampled_from(["/payload/x", ""])
    return st.sampled_from(["x", "a.b", "src"] if kind.base is str else ["/payload/x"])


def mutated(members: dict[str, Any], change: tuple[int, str, Any]) -> dict[str, Any]:
    """With one more or another member somewhere."""
    where, key, value = change
    places: list[dict[str, Any]] = []

    def gather(one: Any) -> None:
        if isinstance(one, dict):
            places.append(one)
        for inner in one.values() if isinstance(one, dict) else one if isinstance(one, list) else ():
            gather(inner)

    copy = json.loads(json.dumps(members))
    gather(copy)
    place = places[where % len(places)]
    place[key or next(iter(place), "x")] = value
    return copy


_changes = st.tuples(st.integers(0, 20), st.sampled_from(["", "", "when", "tiemout_ms", "steps", "on", "type"]), _odd)
_manifests = table(FlowTable) | st.builds(mutated, table(FlowTable), _changes)


def findings(text: str) -> tuple[Finding, ...]:
    try:
        return parse(text.encode()).findings
    except RefusedManifestError as error:
        return error.findings


def is_beyond(finding: Finding) -> bool:
    return finding.code in BEYOND or "max_ms must be" in finding.message  # at least quiet_ms


def as_json(text: str) -> Any:
    return json.loads(json.dumps(tomllib.loads(text), default=str))


@settings(max_examples=150, deadline=None)
@given(_manifests)
def test_what_the_schema_refuses_the_reader_tells_and_the_other_way_round(members: dict[str, Any]) -> None:
    text = "".join(f"{toml.key(name)} = {toml.spelled(value)}\n" for name, value in members.items())
    told = findings(text)
    if SCHEMA.is_valid(as_json(text)):
        assert all(is_beyond(finding) for finding in told), (text, told)
    else:
        assert told, text


PACKAGES = sorted(CHECKOUT.glob("examples/**/flow.toml"))


@pytest.mark.parametrize("file", PACKAGES, ids=lambda file: file.parent.name)
def test_the_schema_passes_the_example_packages(file: Path) -> None:
    SCHEMA.validate(as_json(file.read_text(encoding="utf-8")))


def test_the_schema_passes_the_packages_of_the_documentation() -> None:
    blocks = [block for page in documentation.pages() for block in documentation.blocks(page)]
    texts = [block.text for block in blocks if block.language == "toml"]
    whole = [text for text in texts if {"name", "version", "steps"} <= tomllib.loads(text).keys()]
    good = [text for text in whole if not findings(text)]  # some show what validate says of mistakes
    assert len(good) > 5
    for text in good:
        SCHEMA.validate(as_json(text))


def test_every_key_says_what_it_is_for_and_has_an_example_that_fits() -> None:
    seen: set[type[Struct]] = set()
    left = [FlowTable]
    while left:
        shape = left.pop()
        seen.add(shape)
        for field in fields_of(shape).values():
            kind, about = field.kind, field.about
            below = kind.table or kind.tables_in_list
            left += [below] if below is not None and below not in seen else []
            assert re.fullmatch(r"[A-Z`0-9].*[.:]", about.text), (shape, field.name, about.text)
            example = None if about.example is None else tomllib.loads(f"it = {about.example}")["it"]
            assert example is None or not isinstance(example, float) or math.isfinite(example)
    assert len(seen) == 10
