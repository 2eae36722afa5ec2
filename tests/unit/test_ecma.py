"""JavaScript's patterns on another engine."""

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowd.catalog import ecma

# Pattern, texts that it matches, texts that it does not: by ECMA-262, with the flag u where both differ.
CASES = [
    (r"^\ud83d\ude00$", ["😀"], ["x", "😀😀"]),
    (r"^[\ud83d\ude00-\ud83d\ude02]$", ["😀", "😁"], ["😃"]),
    ("^[^]$", ["x", "\n", "😀"], ["", "xx"]),
    ("a[]", [], ["a", "a[]", ""]),
    ("^[[]$", ["["], ["]"]),
    ("^[a&&b]$", ["a", "&", "b"], ["c"]),
    ("^[a~~b]$", ["~", "a"], ["c"]),
    ("^[[a-c]$", ["[", "b"], ["d"]),
    (r"^[\w-.]$", ["-", ".", "a"], [","]),
    (r"^[\d-x]$", ["-", "x", "1"], ["y"]),
    ("^[a-]$", ["a", "-"], ["b"]),
    ("^[-a]$", ["a", "-"], ["b"]),
    ("^[+--]$", ["+", ",", "-"], ["."]),
    ("^[^-a]$", ["b"], ["a", "-"]),
    ("^.$", ["x", "😀"], ["\n", "\r", "\u2028", "\u2029"]),
    ("^{a}$", ["{a}"], ["a"]),
    ("^a{2}$", ["aa"], ["a"]),
    ("^a{2,}$", ["aaa"], ["a"]),
    ("^a{,2}$", ["a{,2}"], ["aa"]),
    (r"^\0$", ["\0"], ["0"]),
    (r"^[\b]$", ["\b"], ["b"]),
    (r"^\u{1F600}$", ["😀"], ["x"]),
    (r"^\p{Lu}$", ["Ä"], ["ä"]),
    (r"^\ud83d$", [], ["😀", "x"]),
    (r"^\/$", ["/"], ["\\"]),
    (r"^\d$", ["1"], ["\u0661"]),
    (r"^\w$", ["a"], ["ä"]),
    (r"^\cJ$", ["\n"], ["J"]),
]


@pytest.mark.parametrize(("pattern", "fits", "others"), CASES)
def test_a_pattern_means_what_it_means_in_javascript(pattern: str, fits: list[str], others: list[str]) -> None:
    check = jsonschema_rs.validator_for(
        {"pattern": ecma.pattern(pattern)}, pattern_options=jsonschema_rs.RegexOptions()
    )
    assert [text for text in (*fits, *others) if check.is_valid(text)] == fits


def test_patterns_are_translated_where_schemas_stand_and_nowhere_else() -> None:
    schema = {
        "patternProperties": {"[^]": {"pattern": "[^]"}},
        "properties": {"pattern": {"enum": [{"pattern": "[^]"}], "items": {"pattern": "[^]"}}},
        "const": {"pattern": "[^]"},
        "components": {"x": {"pattern": "[^]"}},
    }
    anything = r"[\s\S]"
    assert ecma.translated(schema) == {
        "patternProperties": {anything: {"pattern": anything}},
        "properties": {"pattern": {"enum": [{"pattern": "[^]"}], "items": {"pattern": anything}}},
        "const": {"pattern": "[^]"},
        "components": {"x": {"pattern": anything}},
    }
    plain = {"properties": {"a": {"pattern": "^[a-z]+$"}}}
    assert ecma.translated(plain) is plain


@given(st.text(alphabet=r"[]^-\{}ud83e0pb.&~w(,1", max_size=20))
def test_any_text_is_translated_to_some_text(pattern: str) -> None:
    assert isinstance(ecma.pattern(pattern), str)
