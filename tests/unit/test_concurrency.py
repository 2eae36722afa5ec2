"""Keys of events: JSON Pointers, and what they find."""

import doctest
import json
from types import ModuleType

import pytest

from flowd.domain import concurrency, pointer
from flowd.domain.concurrency import MAX_KEY_CHARS, Concurrency, WantedKey


def canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def key(event: dict[str, object], *pointers: str) -> str:
    asked = Concurrency(None, pointers)
    return concurrency.wanted(asked, event, group="g", limit=1, canonical=canonical).key


@pytest.mark.parametrize("module", [concurrency, pointer])
def test_doctests(module: ModuleType) -> None:
    results = doctest.testmod(module)
    assert results.attempted
    assert not results.failed


# From RFC 6901, section 5.
DOCUMENT = {
    "foo": ["bar", "baz"], "": 0, "a/b": 1, "c%d": 2, "e^f": 3, "g|h": 4, "i\\j": 5, 'k"l': 6, " ": 7, "m~n": 8
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", DOCUMENT), ("/foo", ["bar", "baz"]), ("/foo/0", "bar"), ("/", 0), ("/a~1b", 1), ("/c%d", 2), ("/e^f", 3),
        ("/g|h", 4), ("/i\\j", 5), ('/k"l', 6), ("/ ", 7), ("/m~0n", 8),
    ],
)  # fmt: skip
def test_pointers_find_what_the_standard_says(text: str, found: object) -> None:
    assert pointer.find(DOCUMENT, pointer.parse(text)) == found


@pytest.mark.parametrize("text", ["/foo/2", "/foo/-", "/foo/00", "/foo/-1", "/foo/bar", "/x", "/foo/0/x", "/foo/²"])
def test_pointers_find_nothing_where_nothing_is(text: str) -> None:
    assert pointer.find(DOCUMENT, pointer.parse(text)) is pointer.MISSING


@pytest.mark.parametrize("text", ["foo", "#/foo", "/~", "/a~b", "/~01~"])
def test_what_is_no_pointer_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"begin|~"):
        pointer.parse(text)


def test_a_key_is_the_values_in_the_event_and_null_where_there_is_none() -> None:
    event: dict[str, object] = {"type": "push", "payload": {"repo": "x", "of": {"b": 1, "a": None}}}
    assert key(event, "/payload/repo", "/type") == '["x","push"]'
    assert key(event, "/payload/none") == "[null]" == key(event, "/payload/of/a")
    assert key(event, "/payload/of") == '[{"a":null,"b":1}]'
    assert key(event) == "[]"


def test_a_long_key_stays_another_one_for_other_values_and_is_json() -> None:
    keys = {key({"payload": f"{'é' * 5000}{n}"}, "/payload") for n in range(2)}
    assert len(keys) == 2
    for text in keys:
        assert len(text) < MAX_KEY_CHARS
        assert json.loads(text)[0].startswith("?ééé")


def test_what_is_wanted_names_the_groups_limit_and_not_its_own() -> None:
    asked = Concurrency("checkout", (), 3, "latest")
    wanted = concurrency.wanted(asked, {}, group="checkout", limit=2, canonical=canonical)
    assert wanted == WantedKey("checkout", "[]", 2, "latest")
