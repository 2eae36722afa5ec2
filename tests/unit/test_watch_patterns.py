"""Which files a watch is about, and which folders need a look for them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowd.watching.patterns import Patterns, Selection


def test_the_last_pattern_that_fits_decides() -> None:
    selection = Selection(["src/**", "!src/gen/**", "src/gen/keep.py"])
    assert selection.takes("src/a/b.py")
    assert not selection.takes("src/gen/a.py")
    assert selection.takes("src/gen/keep.py")
    assert selection.may_be_in("src/gen"), "a later pattern may take something in there again"


def test_one_star_is_one_folder_and_two_are_all_below() -> None:
    one, all_below = Selection(["src/*"]), Selection(["src/**"])
    assert (one.takes("src/a"), one.takes("src/a/b")) == (True, False)
    assert (all_below.takes("src/a"), all_below.takes("src/a/b")) == (True, True)
    assert not one.may_be_in("src/a")
    assert all_below.may_be_in("src/a")


def test_a_name_alone_fits_at_any_depth() -> None:
    selection = Selection(["*.md", "src/"])
    assert [selection.takes(path) for path in ("a.md", "x/y/a.md", "x/src/a.c", "x/a.c")] == [True, True, True, False]
    assert selection.may_be_in("anything/at/all")


def test_only_folders_on_the_way_are_looked_into() -> None:
    selection = Selection(["packages/*/src/**", "docs/guide/*.md"])
    seen = ["packages", "packages/a", "packages/a/src", "packages/a/src/x", "docs", "docs/guide"]
    assert [folder for folder in seen if not selection.may_be_in(folder)] == []
    unseen = ["other", "packages/a/test", "docs/other", "docs/guide2"]
    assert [folder for folder in unseen if selection.may_be_in(folder)] == []


def test_only_what_is_named_letter_by_letter_is_named() -> None:
    selection = Selection(["src/lib/**", "packages/*/src/**"])
    assert [selection.is_named(folder) for folder in ("src", "src/lib", "packages", "packages/a")] == [
        True,
        True,
        True,
        False,
    ]


_PART = st.sampled_from(["a", "b", "ab", "*", "a*", "?", "**", "[ab]"])
_LINE = st.builds(
    lambda not_, parts, end: ("!" if not_ else "") + "/".join(parts) + end,
    st.booleans(),
    st.lists(_PART, min_size=1, max_size=3),
    st.sampled_from(["", "/", "/**", "/*"]),
)
_PATH = st.lists(st.sampled_from(["a", "b", "ab", "ba", "c"]), min_size=1, max_size=4).map("/".join)


@given(st.lists(_LINE, min_size=1, max_size=4), _PATH)
def test_no_folder_with_a_file_that_is_meant_is_passed_by(lines: list[str], path: str) -> None:
    selection = Selection(lines)
    if selection.takes(path):
        parts = path.split("/")
        folders = ["/".join(parts[:depth]) for depth in range(1, len(parts))]
        assert [folder for folder in folders if not selection.may_be_in(folder)] == []


def test_many_patterns_say_the_same_as_each_alone() -> None:
    lines = ["*.o", "build/", "!keep.o", "[bad-", "a\\", "/top", "# comment", "", "x/**/y", "src/[b-a]"]
    patterns = Patterns(lines)
    for path, verdict in {
        "a.o": True,
        "x/keep.o": False,
        "build/a": True,
        "top": True,
        "sub/top": None,
        "x/1/2/y": True,
        "# comment": None,
    }.items():
        assert patterns.verdict(path) is verdict, path


@pytest.mark.parametrize(
    ("lines", "ignored"),
    [
        (["*.o", "!keep.o"], ["a.o"]),
        (["/build", "doc/*.txt"], ["build", "doc/a.txt"]),
        (["a/**/z", "[ab].c", "x?y"], ["a/z", "a/1/z", "b.c", "xzy"]),
    ],
)
def test_patterns_say_what_git_says(lines: list[str], ignored: list[str]) -> None:
    # As `git check-ignore` answered, once.
    paths = ["a.o", "keep.o", "s/keep.o", "build", "s/build", "doc/a.txt", "doc/s/a.txt", "a/z", "a/1/z", "b.c", "xzy"]
    patterns = Patterns(lines)
    assert [path for path in paths if patterns.verdict(path)] == ignored
