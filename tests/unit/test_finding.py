"""Findings: their order and their sentences, and where they point in a TOML text."""

import doctest
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowd.catalog import concurrency, leads, schema_doubts
from flowd.cli import findings as cli_findings
from flowd.domain import finding
from flowd.domain.finding import Finding, Severity, in_order
from flowd.formats import guesses, places
from flowd.formats.places import Place, Places, Span

TEXT = '''name = "rel"  # a comment
"quo.ted" = 'x'
'lit' = 1
when = 1979-05-27 07:32:00Z
a.b . c = true
long = """
one \\""" two""""
list = [ # [
  "x", ["y, z", 2],
  {"k\\u0061" = [1, 2], deep.er = "v"}, # }
]
[steps_of.it]
[[steps]]
name = "ü"
'''


def at(line: int, column: int, width: int) -> Span:
    return Span(line, column, column + width)


@pytest.mark.parametrize(
    ("place", "key", "value"),
    [
        (("name",), at(1, 1, 4), at(1, 8, 5)),
        (("quo.ted",), at(2, 1, 9), at(2, 13, 3)),
        (("lit",), at(3, 1, 5), at(3, 9, 1)),
        (("when",), at(4, 1, 4), at(4, 8, 20)),
        (("a", "b", "c"), at(5, 7, 1), at(5, 11, 4)),
        (("a",), at(5, 1, 1), at(5, 1, 1)),
        (("long",), at(6, 1, 4), at(6, 8, 3)),
        (("list",), at(8, 1, 4), at(8, 8, 5)),
        (("list", 0), at(9, 3, 3), at(9, 3, 3)),
        (("list", 1, 0), at(9, 9, 6), at(9, 9, 6)),
        (("list", 2, "ka"), at(10, 4, 9), at(10, 16, 6)),
        (("list", 2, "ka", 1), at(10, 20, 1), at(10, 20, 1)),
        (("list", 2, "deep", "er"), at(10, 29, 2), at(10, 34, 3)),
        (("steps_of", "it"), at(12, 11, 2), at(12, 11, 2)),
        (("steps", 0), at(13, 3, 5), at(13, 3, 5)),
        (("steps", 0, "missing"), at(13, 3, 5), at(13, 3, 5)),
        (("steps", 1), at(13, 3, 5), at(13, 3, 5)),
    ],
)
def test_keys_and_values_are_found_wherever_they_stand(place: Place, key: Span, value: Span) -> None:
    places = Places(TEXT)
    assert (places.key(*place), places.value(*place)) == (key, value)


def test_columns_count_code_points_and_a_windows_line_ends_before_its_end() -> None:
    places = Places('a = { "ü" = "ö", "é" = [\r\n1] }\r\n')
    assert places.key("a", "é") == at(1, 18, 3)
    assert places.value("a", "é") == at(1, 24, 1)
    assert places.value("a", "é", 0) == at(2, 1, 1)


@given(st.text(alphabet="[]{}=\"'#\\ \r\n.,ab1", max_size=80))
def test_any_text_has_spans_within_its_lines(text: str) -> None:
    places, lines = Places(text), text.split("\n")
    for span in (places.key("a"), places.value("a", "b"), places.value("a", 0)):
        if span is not None:
            assert 1 <= span.column <= span.end_column <= len(lines[span.line - 1]) + 1


def test_findings_come_by_file_line_and_column_and_each_once() -> None:
    def told(file: str, line: int | None, column: int | None, message: str = "m") -> Finding:
        return Finding(file, "c", Severity.WARNING, message, line=line, column=column)

    wanted = [told("/a", None, None), told("/a", 2, 1), told("/a", 10, 1), told("/a", 10, 7)]
    wanted.append(told("/b", 1, None))
    assert list(in_order([*reversed(wanted), wanted[0]])) == wanted
    one, other = told("/a", 1, 1, "z"), told("/a", 1, 1, "a")
    assert in_order([one, other]) == (one, other)


def test_a_sentence_has_place_message_suggestion_and_remedy() -> None:
    finding = Finding("/f", "c", Severity.ERROR, "no such step", "Name one.", "build", 3, 9, 14)
    assert finding.sentence() == "/f:3:9: no such step; did you mean build? Name one."
    assert Finding("/f", "c", Severity.ERROR, "it is gone").sentence() == "/f: it is gone."


@pytest.mark.parametrize("module", [finding, places, guesses, leads, concurrency, schema_doubts, cli_findings])
def test_doctests(module: ModuleType) -> None:
    results = doctest.testmod(module)
    assert results.attempted
    assert not results.failed


def shown(line: str, column: int | None, end_column: int | None = None) -> list[str]:
    told = Finding("/f", "c", Severity.ERROR, "m", line=1, column=column, end_column=end_column)
    return [text for _, text in cli_findings.snippet(told, [line])]


@pytest.mark.parametrize(
    ("line", "column", "end_column", "carets"),
    [
        ('name = "日本" # x', 8, 12, " " * 7 + "^" * 6),
        ('\t\tname = "x"', 3, 7, " " * 8 + "^" * 4),
        ("name = ", 8, 9, " " * 7 + "^"),
        ("name = ", 8, None, " " * 7 + "^"),
        ("a\x1b = 1", 1, 3, "^^"),
    ],
)
def test_carets_stand_below_what_is_meant(line: str, column: int, end_column: int | None, carets: str) -> None:
    assert shown(line, column, end_column)[1] == carets


def test_of_a_long_line_the_part_that_is_meant_is_shown() -> None:
    text, carets = shown("x" * 500 + "here" + "x" * 500, 501, 505)
    assert len(text) == 160
    assert text[carets.index("^") :].startswith("here")
    assert carets.count("^") == 4
    text, carets = shown("y" * 1000, 1, 1001)
    assert (len(text), carets) == (160, "^" * 160)


def test_without_a_column_the_line_alone_is_shown() -> None:
    assert shown("name = 1", None) == ["name = 1"]
    assert shown("", 1) == []


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("url = 'https://me:mine@host/x'", "url = 'https://me:****@host/x'"),
        ("url = 'postgresql:///x?user=me&sslpassword=mine'", "url = 'postgresql:///x?user=me&sslpassword=*****"),
        ("secrets = ['one', 'two']", "secrets = " + "*" * 14),
        ("env = { API_TOKEN = 'mine' }", "env = { API_TOKEN = " + "*" * 8),
        ('secret_file = "/etc/x"', 'secret_file = "/etc/x"'),
        ('webhook = "https://host:8443/x"', 'webhook = "https://host:8443/x"'),
    ],
)
def test_a_line_is_shown_without_what_looks_like_a_secret(line: str, text: str) -> None:
    assert shown(line, 1, 2)[0] == text
