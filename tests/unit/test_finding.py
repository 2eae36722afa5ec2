"""Findings: their order and their sentences, and where they point in a TOML text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowd.domain.finding import Finding, Severity, in_order
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
    def finding(file: str, line: int | None, column: int | None, message: str = "m") -> Finding:
        return Finding(file, "c", Severity.WARNING, message, line=line, column=column)

    wanted = [finding("/a", None, None), finding("/a", 2, 1), finding("/a", 10, 1), finding("/a", 10, 7)]
    wanted.append(finding("/b", 1, None))
    assert list(in_order([*reversed(wanted), wanted[0]])) == wanted
    one, other = finding("/a", 1, 1, "z"), finding("/a", 1, 1, "a")
    assert in_order([one, other]) == (one, other)


def test_a_sentence_has_place_message_suggestion_and_remedy() -> None:
    finding = Finding("/f", "c", Severity.ERROR, "no such step", "Name one.", "build", 3, 9, 14)
    assert finding.sentence() == "/f:3:9: no such step; did you mean build? Name one."
    assert Finding("/f", "c", Severity.ERROR, "it is gone").sentence() == "/f: it is gone."
