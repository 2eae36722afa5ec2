"""JSON as it comes from everybody."""

import gc
import json as standard

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowd.api import json

PIECES = (r"\\", r"\n", r"\"", r"\ud83d", r"\uDBFF", r"\ude00", r"\uDFFF", r"\u00e9", "ud83d", r"\\ud83d", "é")


@given(st.lists(st.sampled_from(PIECES), max_size=12))
def test_half_a_surrogate_pair_is_a_replacement_character_and_nothing_else_changes(pieces: list[str]) -> None:
    text = '["' + "".join(pieces) + '"]'
    (expected,) = standard.loads(text)
    whole = expected.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert json.decode(text.encode()) == [whole]


@pytest.mark.parametrize("text", [b'["\\ud83d\0"]', b'["\\ud83d\0\0"]', b'["\\ud83d', b'["\\ud83d", \0]', b"\0"])
def test_what_is_no_json_does_not_become_some(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"JSON|malformed|truncated|invalid"):
        json.decode(text)


@pytest.mark.parametrize("is_on", [True, False])
def test_the_garbage_collector_is_left_as_it_was(is_on: bool) -> None:
    was_on = gc.isenabled()
    (gc.enable if is_on else gc.disable)()
    try:
        assert json.decode(b"[" + b"0," * 50_000 + b"0]")[-1] == 0
        with pytest.raises(ValueError, match=r".+"):
            json.decode(b"[" + b"0," * 50_000)
        assert gc.isenabled() is is_on
    finally:
        (gc.enable if was_on else gc.disable)()
