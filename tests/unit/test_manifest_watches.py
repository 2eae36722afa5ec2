"""[[watches]]: strict, because a watch that was misread would stay silent for ever."""

import pytest

from flowd.catalog.manifest import Manifest, parse
from flowd.catalog.table import ManifestError
from flowd.domain.watches import Watch

HEAD = 'name = "docs"\nversion = 1\n[[steps]]\nname = "build"\nrunner = "exec"\nscript = "x"\n'
LEAST = 'name = "w"\npaths = ["src/**"]\ntype = "src.changed"\n'


def read(*watches: str) -> Manifest:
    return parse((HEAD + "".join(f"[[watches]]\n{watch}\n" for watch in watches)).encode())


def test_a_watch_has_defaults() -> None:
    manifest = read(LEAST)
    assert manifest.warnings == ()
    assert manifest.watches == (Watch("docs", "w", ("src/**",), "src.changed", settle_ms=300, gitignore=True),)


def test_a_watch_says_all_there_is_to_say() -> None:
    text = 'name = "w"\npaths = ["src/**", "!src/gen/**"]\ntype = "t"\nsettle_ms = 1000\ngitignore = false\n'
    assert read(text).watches == (Watch("docs", "w", ("src/**", "!src/gen/**"), "t", 1000, gitignore=False),)


def test_a_flow_without_watches_has_none() -> None:
    assert read().watches == ()


@pytest.mark.parametrize(
    ("watch", "words"),
    [
        ('paths = ["a"]\ntype = "t"', "watch 1: name is missing"),
        ('name = "a/b"\npaths = ["a"]\ntype = "t"', 'name "a/b" has a slash'),
        ('name = "w"\ntype = "t"', 'watch "w": paths is missing'),
        ('name = "w"\npaths = []\ntype = "t"', "paths is empty"),
        ('name = "w"\npaths = "src"\ntype = "t"', 'paths must be a list, got "src"'),
        ('name = "w"\npaths = [1]\ntype = "t"', "paths must hold strings, got 1"),
        ('name = "w"\npaths = ["!a"]\ntype = "t"', "takes nothing"),
        ('name = "w"\npaths = ["/"]\ntype = "t"', 'path "/" begins with /'),
        ('name = "w"\npaths = ["/etc/**"]\ntype = "t"', 'path "/etc/**" begins with /'),
        ('name = "w"\npaths = ["a", "!/b"]\ntype = "t"', 'path "!/b" begins with /'),
        ('name = "w"\npaths = ["../a"]\ntype = "t"', 'path "../a" leads out of the workspace'),
        ('name = "w"\npaths = ["a/../../b"]\ntype = "t"', "leads out of the workspace"),
        ('name = "w"\npaths = ["./a"]\ntype = "t"', 'path "./a" begins with .'),
        ('name = "w"\npaths = ["~/a"]\ntype = "t"', 'path "~/a" begins with ~'),
        ('name = "w"\npaths = [""]\ntype = "t"', 'path "" is no pattern'),
        ('name = "w"\npaths = ["# a"]\ntype = "t"', 'path "# a" is no pattern'),
        ('name = "w"\npaths = ["src/[b-a]"]\ntype = "t"', "is no pattern"),
        ('name = "w"\npaths = ["a", "!"]\ntype = "t"', 'path "!" is no pattern'),
        ('name = "w"\npaths = ["a"]', 'watch "w": type is missing'),
        ('name = "w"\npaths = ["a"]\ntype = "t.*"', "is a prefix of types"),
        (f'name = "w"\npaths = ["a"]\ntype = "{"t" * 257}"', "type is longer than 256 characters"),
        (f"{LEAST}settle_ms = 9", "settle_ms must be 10..600000, got 9"),
        (f"{LEAST}settle_ms = 0.5", "settle_ms must be 10..600000"),
        (f'{LEAST}gitignore = "no"', 'gitignore must be true or false, got "no"'),
        (f"{LEAST}setle_ms = 10", 'unknown key "setle_ms"'),
        (f"name = 'w'\ntype = 't'\npaths = {['a'] * 101}", "more than 100 patterns"),
    ],
)
def test_what_cannot_be_used_is_an_error(watch: str, words: str) -> None:
    with pytest.raises(ManifestError) as caught:
        read(watch)
    assert words in caught.value.message
    assert caught.value.remedy
    assert caught.value.line is not None


def test_an_error_names_the_line_of_its_watch() -> None:
    with pytest.raises(ManifestError) as caught:
        read(LEAST, LEAST.replace('"w"', '"v"').replace("src/**", "/"))
    assert caught.value.line == HEAD.count("\n") + 1 + LEAST.count("\n") + 1 + 3 + 1 - 1


def test_two_watches_of_one_name_are_an_error() -> None:
    with pytest.raises(ManifestError, match="another watch of this flow has the same name"):
        read(LEAST, LEAST)


def test_watches_are_a_list_of_tables() -> None:
    for text in ("watches = 1", "watches = [1]", "watches = {}"):
        with pytest.raises(ManifestError, match="watch"):
            parse(f"{text}\n{HEAD}".encode())
    with pytest.raises(ManifestError, match="more than 50 watches"):
        read(*[LEAST] * 51)
