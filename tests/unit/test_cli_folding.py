"""How sentences are folded for a terminal."""

import doctest
import os
import sys

import pytest

from flowd.cli import folding, printing
from flowd.cli.folding import folded


def test_doctests() -> None:
    assert doctest.testmod(folding).failed == 0


@pytest.mark.parametrize("columns", [20, 40, 79, 80])
def test_no_word_is_parted_and_none_is_lost(columns: int) -> None:
    text = "flowd: release/build (run_0123456789ab) failed, exit code 3: cc: fatal error: no input files. 日本語 " * 2
    lines = folded(text, columns).splitlines()
    assert " ".join(lines).split() == text.split()
    assert len(lines) > 1


def test_what_fits_is_left_as_it_is() -> None:
    for text in ("", "  two  blanks  within ", "x" * 40):
        assert folded(text, 40) == text


def test_of_several_lines_each_is_folded_by_itself_and_what_is_indented_is_kept() -> None:
    block = "\nTry it:\n  flowd dispatch event.json --wait  # send it an event\n\none two three four five six\n"
    assert folded(block, 20) == block.replace("four five", "four\nfive")
    assert folded(block, 80) == block  # each line fits, though all together would not
    traceback = (
        '  File "checkout.py", line 5, in run\n    subprocess.run(["git", "clone", "--depth", "1"])\n    ~~~^^^^'
    )
    assert folded(f"ValueError:\n{traceback}", 20) == f"ValueError:\n{traceback}"


@pytest.mark.parametrize(
    ("told", "of_terminal", "columns"), [("100", 40, 100), ("", 40, 40), ("0", 40, 40), ("wide", 40, 40), ("", 0, 80)]
)
def test_the_environment_goes_before_the_terminal_which_may_not_say(
    monkeypatch: pytest.MonkeyPatch, told: str, of_terminal: int, columns: int
) -> None:
    assert printing.screen_columns() is None
    monkeypatch.setenv("COLUMNS", told)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr(sys.stdout, "fileno", lambda: 1)
    monkeypatch.setattr(os, "get_terminal_size", lambda _: os.terminal_size((of_terminal, 24)))
    assert printing.screen_columns() == columns


def test_sentences_and_values_are_folded_on_a_terminal_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = "one two three four five six seven"
    printing.sentence(said)
    printing.fields([("why", said)])
    printing.note(said)
    assert capsys.readouterr() == (f"{said}\nwhy  {said}\n", f"{said}\n")
    monkeypatch.setattr(printing, "screen_columns", lambda: 20)
    monkeypatch.setattr(printing, "has_colours", lambda: False)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(sys.stderr, "fileno", lambda: 2)
    monkeypatch.setattr(os, "get_terminal_size", lambda _: os.terminal_size((20, 24)))
    printing.sentence(said)
    printing.fields([("why", said)])
    printing.note(said)
    folds = "one two three four\nfive six seven\n"
    assert capsys.readouterr() == (f"{folds}why  one two three\n     four five six\n     seven\n", folds)
    printing.fields([("why", "one two three four\n  a[1:2] = b[3:4]; pass\nend")])
    assert capsys.readouterr().out == "why  one two three\n     four\n       a[1:2] = b[3:4]; pass\n     end\n"
