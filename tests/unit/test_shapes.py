"""What the shapes of files say holds for their schemas and for their readers, member by member."""

import json
import tomllib
from typing import Any

import jsonschema_rs
import pytest
import shape_rig
from shape_rig import Case

from flowd import schemas
from flowd.catalog.manifest import RefusedManifestError, parse
from flowd.catalog.shapes import FlowTable
from flowd.domain.finding import Finding
from flowd.formats import toml
from flowd.settings.files import check_text
from flowd.settings.tables import Tables

CASES = {"flow": list(shape_rig.cases(FlowTable)), "settings": list(shape_rig.cases(Tables))}
ABOUT_SHAPE = {"unknown-key", "missing-key", "wrong-type", "out-of-range", "unknown-value"}


def text_of(members: dict[str, Any]) -> str:
    return "".join(f"{toml.key(name)} = {toml.spelled(value)}\n" for name, value in members.items())


def told(name: str, text: str) -> tuple[Finding, ...]:
    if name == "settings":
        return check_text(shape_rig.FILE, text.encode()).findings
    try:
        return parse(text.encode()).findings
    except RefusedManifestError as error:
        return error.findings


@pytest.mark.parametrize("name", schemas.NAMES)
def test_a_schema_and_its_reader_agree_on_every_member(name: str) -> None:
    schema = jsonschema_rs.validator_for(json.loads(schemas.text(name)))
    assert len(CASES[name]) > 400
    disputed = [case.where for case in CASES[name] if not is_held(case, name, schema)]
    assert disputed == []


def is_held(case: Case, name: str, schema: Any) -> bool:
    """A right file passes both, as far as a schema can tell, and a wrong one is refused there and told here."""
    text = text_of(case.members)
    is_valid = schema.is_valid(json.loads(json.dumps(tomllib.loads(text), default=str)))
    found = told(name, text)
    if case.is_right:
        about_shape = [it for it in found if it.code in ABOUT_SHAPE and "max_ms must be 2000.." not in it.message]
        return is_valid and not about_shape  # max_ms is quiet_ms at least, which no schema can say
    return not is_valid and bool(found)
