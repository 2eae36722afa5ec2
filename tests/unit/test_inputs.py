"""What a step is given of its event, of what it needs, and of secrets: read from flow.toml, and looked up."""

import pytest

from flowd.catalog.manifest import parse
from flowd.catalog.table import ManifestError
from flowd.domain import definition
from flowd.domain.flow import Flow, Origin
from flowd.domain.inputs import Input, MissingInputError, look_up
from flowd.domain.step import Step

HEAD = (
    'name = "rel"\nversion = 1\n[[steps]]\nname = "fetch"\nrunner = "exec"\nscript = "a"\n[steps.trigger]\ntype = "x"\n'
    "[[steps]]\n"
)
STEP = 'name = "build"\nrunner = "exec"\nscript = "b"\nneeds = ["fetch"]\n'
EVENT = {"payload": {"tag": "v1", "n": 3, "ok": True, "none": None, "list": [1, {"a": "ä"}]}}


def step(text: str) -> Step:
    return parse((HEAD + STEP + text).encode()).steps[1]


@pytest.mark.parametrize(
    ("pointer", "text"),
    [
        ("/payload/tag", "v1"),
        ("/payload/n", "3"),
        ("/payload/ok", "true"),
        ("/payload/none", "null"),
        ("/payload/list", '[1,{"a":"ä"}]'),
        ("/payload/list/1/a", "ä"),
    ],
)
def test_text_numbers_and_booleans_come_as_they_are_and_all_else_as_json(pointer: str, text: str) -> None:
    assert look_up(Input(pointer=pointer), EVENT, {}) == text


def test_what_is_not_there_is_its_default_or_an_error_that_names_the_place() -> None:
    assert look_up(Input(pointer="/payload/x", default="d"), EVENT, {}) == "d"
    with pytest.raises(MissingInputError, match="the event has nothing at '/payload/x', and there is no default"):
        look_up(Input(pointer="/payload/x"), EVENT, {})
    with pytest.raises(MissingInputError, match="the result of fetch has nothing at '/artifacts/path'"):
        look_up(Input(pointer="/artifacts/path", need="fetch"), EVENT, {})


def test_a_need_s_result_is_looked_into() -> None:
    results = {"fetch": {"artifacts": {"path": "/tmp/x"}}}
    assert look_up(Input(pointer="/artifacts/path", need="fetch"), EVENT, results) == "/tmp/x"


def test_variables_and_arguments_are_read() -> None:
    read = step(
        'args = ["--tag", { pointer = "/payload/tag" }, { need = "fetch", pointer = "/artifacts/path", default = 3 }]\n'
        '[steps.env]\nA = "plain"\nTAG = { pointer = "/payload/tag", default = true }\nT = { secret = "npm" }\n'
    )
    assert read.env == {"A": "plain"}
    assert read.inputs == {"TAG": Input(pointer="/payload/tag", default="true"), "T": Input(secret="npm")}
    assert read.args == (
        "--tag", Input(pointer="/payload/tag"), Input(pointer="/artifacts/path", need="fetch", default="3"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("[steps.env]\nA = 1", 15, "env variable A must be a string"),
        ('[steps.env]\nA = { pointer = "x" }', 15, 'has the pointer "x", which does not begin with "/"'),
        ('[steps.env]\nA = { pointer = "/a~2" }', 15, 'has a "~" that is neither'),
        ("[steps.env]\nA = {}", 15, "has no pointer"),
        ('[steps.env]\nA = { need = "fetch" }', 15, "has no pointer"),
        ('[steps.env]\nA = { need = "other", pointer = "/a" }', 15, 'result of "other", which the step does not need'),
        ('[steps.env]\nA = { pointer = "/a", defualt = "" }', 15, 'has the unknown member "defualt"'),
        ('[steps.env]\nA = { pointer = "/a", default = [] }', 15, "has an array as default"),
        ('[steps.env]\nA = { secret = "npm", default = "x" }', 15, "has more than the name of a secret"),
        ('args = "x"', 14, "args must be a list"),
        ("args = [1]", 14, "argument 1 must be a string or a table, got 1"),
        ('args = ["x", { secret = "npm" }]', 14, "argument 2 is a secret"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_line(text: str, line: int, message: str) -> None:
    with pytest.raises(ManifestError) as caught:
        step(text)
    assert message in caught.value.message
    assert caught.value.line == line


def test_a_definition_keeps_them_through_its_json() -> None:
    read = step('args = ["a", { pointer = "/payload" }]\n[steps.env]\nT = { secret = "npm" }\n')
    flow = Flow("rel", 1, "/flows/rel", Origin.SOURCE, (read,), "sha256:0")
    made = definition.of(flow, read)
    assert definition.parse(made.body) == made
