"""Masking: no secret is ever shown, however a stream is cut, and nothing else is touched."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowd.domain.redaction import MASK, Redactor, looks_secret


def read_all(redactor: Redactor, data: bytes, cuts: list[int], sizes: list[int]) -> bytes:
    """Follow a stream that grows to each of ``cuts`` in turn, in reads of ``sizes``, as a client does."""
    shown, offset, turn = b"", 0, 0
    for written in [*sorted(cuts), len(data)]:
        so_far = data[:written]
        is_end = written == len(data)
        while True:
            count = sizes[turn % len(sizes)]
            turn += 1
            reach = redactor.longest
            before, part = so_far[max(0, offset - reach) : offset], so_far[offset : offset + count]
            after = so_far[offset + count : offset + count + reach]
            masked, taken = redactor.part(before, part, after, is_end=is_end)
            shown += masked
            offset += taken
            if not taken:
                break
    assert offset == len(data)
    return shown


@given(
    st.lists(st.text("ab", min_size=4, max_size=7), min_size=1, max_size=3),
    st.text("abc", max_size=60),
    st.lists(st.integers(0, 60), max_size=4),
    st.lists(st.integers(1, 9), min_size=1, max_size=3),
)
def test_no_secret_comes_through_however_the_stream_is_cut(
    values: list[str], text: str, cuts: list[int], sizes: list[int]
) -> None:
    names = [f"S{n}" for n in range(len(values))]
    redactor = Redactor(names, dict(zip(names, values, strict=True)))
    data = text.encode()
    shown = read_all(redactor, data, [cut for cut in cuts if cut < len(data)], sizes)
    covered = {
        n
        for value in values
        for at in range(len(text))
        if text.startswith(value, at)
        for n in range(at, at + len(value))
    }
    assert shown.replace(MASK.encode(), b"") == "".join(c for n, c in enumerate(text) if n not in covered).encode()
    assert (MASK.encode() in shown) == bool(covered)


@pytest.mark.parametrize(
    "written",
    [r"a\/b+c='&<>`ü==", r"a/b+c='\u0026\u003c\u003e`ü==", r"a/b+c\u003d\u0027\u0026\u003c\u003e`ü\u003d\u003d",
     r"a/b\u002Bc=\u0027\u0026\u003C\u003E\u0060ü==", r"a\/b+c='&<>`\u00fc=="],
    ids=["PHP", "Go", "Gson", ".NET", "PHP, in ASCII"],
)  # fmt: skip
def test_a_secret_is_masked_as_writers_of_json_put_it(written: str) -> None:
    value = "a/b+c='&<>`ü=="
    assert json.loads(f'"{written}"') == value
    assert Redactor(["S"], {"S": value}).text(f'{{"key": "{written}"}}') == '{"key": "***"}'


def test_a_secret_of_the_largest_size_is_held_back_where_it_is_cut() -> None:
    value = "".join(chr(33 + (n * 7919 + n // 97) % 90) for n in range(60_000))
    redactor = Redactor(["S"], {"S": value})
    for length in (1, 15, 16, 17, 40_000, 59_999):
        data = b"x" * 70_000 + value[:length].encode()
        assert redactor.part(b"", data, b"", is_end=False) == (b"x" * 70_000, 70_000), length


def test_secrets_without_end_between_them_are_not_held_back_for_ever() -> None:
    redactor = Redactor(["S"], {"S": "00000000"})
    shown, before, pending, longest = b"", b"", b"", 0
    for _ in range(8):
        pending += b"0" * 65_536
        masked, taken = redactor.part(before, pending, b"", is_end=False)
        shown, before, pending = shown + masked, (before + pending[:taken])[-8:], pending[taken:]
        longest = max(longest, len(pending))
    assert longest < 262_144
    assert set(shown) == set(MASK.encode())


def test_a_secret_that_is_not_written_to_its_end_is_held_back() -> None:
    redactor = Redactor(["S"], {"S": "hunter22"})
    assert redactor.part(b"", b"it is hunt", b"", is_end=False) == (b"it is ", 6)
    assert redactor.part(b"it is ", b"hunt", b"", is_end=False) == (b"", 0)
    assert redactor.part(b"it is ", b"hunter22!", b"", is_end=False) == (b"***!", 9)
    assert redactor.part(b"it is ", b"hunt", b"", is_end=True) == (b"hunt", 4)


def test_a_read_that_begins_or_ends_within_a_secret_shows_nothing_of_it() -> None:
    redactor = Redactor(["S"], {"S": "hunter22"})
    assert redactor.part(b"a hunt", b"er22 b", b"", is_end=True) == (b"*** b", 6)
    assert redactor.part(b"", b"a hunt", b"er22 b", is_end=True) == (b"a ***", 10)


def test_a_result_stays_json_and_is_masked_in_every_place() -> None:
    redactor = Redactor(["S", "N"], {"S": 'pass"word\u00e9', "N": "12345"})
    said = {"a": 'x pass"word\u00e9 y', "n": 12345, "m": 123, "l": [{'pass"word\u00e9': True}], "z": None, "f": 0.5}
    for text in (json.dumps(said), json.dumps(said, ensure_ascii=False)):
        assert json.loads(redactor.json(text)) == {
            "a": "x *** y", "n": "***", "m": 123, "l": [{"***": True}], "z": None, "f": 0.5,
        }  # fmt: skip
        assert redactor.text(text).count(MASK) == 3
    untouched = '{ "spaced" :  1.0 }'
    assert redactor.json(untouched) == untouched


def test_lines_of_a_key_are_masked_one_by_one_and_short_values_never() -> None:
    redactor = Redactor(
        ["KEY", "SHORT"], {"KEY": "-----BEGIN-----\nabcdefghij\nxy\n", "SHORT": "abc", "OTHER": "other"}
    )
    assert redactor.text("1 abcdefghij 2 xy abc other") == "1 *** 2 xy abc other"


@pytest.mark.parametrize("text", ["a\udce9b", "\ud800 x", "caf\u00e9", ""])
def test_text_without_a_secret_comes_back_as_it_is(text: str) -> None:
    assert Redactor(["S"], {"S": "hunter22"}).text(text) is text


def test_what_is_learned_later_is_masked_too_and_only_named_variables_are_learned() -> None:
    redactor = Redactor(["S"], {"S": "first-one"})
    redactor.learn({"S": "second-one", "T": "third-one"})
    assert redactor.text("first-one second-one third-one") == "*** *** third-one"


def test_names_that_look_secret() -> None:
    names = ("GITHUB_TOKEN", "KEYBOARD", "my_secret", "PGPASSWORD", "TOKENS")
    assert [name for name in names if looks_secret(name)] == ["GITHUB_TOKEN", "my_secret", "PGPASSWORD"]
