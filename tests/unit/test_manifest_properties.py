"""Whatever a flow.toml holds, it is read or refused; nothing else comes out."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from flowd.catalog.manifest import Manifest, guess_name, parse
from flowd.catalog.table import ManifestError
from flowd.domain.step import MAX_TIMEOUT_MS
from flowd.formats.places import Places

_KEYS = ["name", "runner", "script", "timeout_ms", "grace_ms", "cwd", "trigger", "env", "retry", "detach", "on"]
_values = st.recursive(
    st.sampled_from(
        [
            '"x"',
            '""',
            '"bun"',
            '"a.*"',
            "1",
            "0",
            "-1",
            "1.5",
            "inf",
            "nan",
            "true",
            "1979-05-27",
            "'''\n[[steps]]\n'''",
        ]
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
        st.dictionaries(st.sampled_from([*_KEYS, "type", "schema", "max_attempts"]), inner, max_size=4).map(
            lambda members: "{ " + ", ".join(f"{key} = {value}" for key, value in members.items()) + " }"
        ),
    ),
    max_leaves=6,
)
_tables = st.sampled_from(
    ["[config]", "[guidance]", "[[steps]]", "[steps.trigger]", "[steps.env]", "[steps.retry]", "[[ steps ]]", "[other]"]
)
_pairs = st.tuples(st.sampled_from([*_KEYS, "version", "description", "config", "steps", "x.y"]), _values).map(
    " = ".join
)
_texts = st.lists(st.one_of(_pairs, _tables, st.just("# [[steps]]")), max_size=14).map("\n".join)
_GOOD = 'name = "x"\nversion = 1\n[[steps]]\nname = "a"\nrunner = "exec"\nscript = "s"\n'


def check(text: bytes) -> None:
    guess_name(text)
    try:
        manifest = parse(text)
    except ManifestError as error:
        refusal = error
    else:
        check_manifest(manifest)
        return
    assert refusal.message
    assert refusal.remedy
    assert refusal.line is None or 1 <= refusal.line <= text.count(b"\n") + 1


def check_manifest(manifest: Manifest) -> None:
    assert manifest.name.strip()
    assert manifest.steps
    assert len({step.name for step in manifest.steps}) == len(manifest.steps)
    assert all(1 <= step.timeout_ms <= MAX_TIMEOUT_MS for step in manifest.steps)
    json.dumps([manifest.config, manifest.version], allow_nan=False)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(text: bytes) -> None:
    check(text)


@settings(max_examples=300)
@given(_texts)
def test_any_toml_is_read_or_refused(text: str) -> None:
    check(text.encode())


@settings(max_examples=300)
@given(st.lists(st.one_of(_pairs, _tables), max_size=4).map("\n".join))
def test_any_addition_to_a_good_manifest_is_read_or_refused(addition: str) -> None:
    check((_GOOD + addition).encode())


@given(st.text(alphabet="[]{}=\"'#\\ \n.abé", max_size=200))
def test_any_text_has_lines(text: str) -> None:
    line = Places(text).line("a")
    assert line is None or 1 <= line <= text.count("\n") + 1
