"""Outputs woven into one: whole lines with whose they are, progress as it looked in the end."""

import doctest

from hypothesis import given
from hypothesis import strategies as st

from flowd.cli.follow import lines
from flowd.cli.follow.lines import MAX_LINE_BYTES, LineMultiplexer, Stream


class Sink:
    def __init__(self) -> None:
        self.said: list[tuple[Stream, bytes]] = []

    def __call__(self, stream: Stream, data: bytes) -> None:
        self.said.append((stream, data))

    def text(self, stream: Stream = "stdout") -> bytes:
        return b"".join(data for kind, data in self.said if kind == stream)


def test_doctests() -> None:
    results = doctest.testmod(lines)
    assert results.attempted
    assert not results.failed


@given(
    st.lists(
        st.tuples(st.sampled_from(["a/b", "long/name"]), st.sampled_from(["stdout", "stderr"]), st.binary(max_size=20))
    )
)
def test_however_outputs_are_cut_each_ones_lines_come_whole_and_once(pieces: list[tuple[str, Stream, bytes]]) -> None:
    sink = Sink()
    weaver = LineMultiplexer(sink)
    whole: dict[tuple[str, Stream], bytes] = {}
    for name in ("a/b", "long/name"):
        weaver.prefix(name)
    for name, stream, data in pieces:
        piece = data.replace(b"\r", b"")
        whole[name, stream] = whole.get((name, stream), b"") + piece
        weaver.feed(name, stream, piece)
    weaver.close()
    for (name, stream), data in whole.items():
        prefix = name.ljust(len("long/name")).encode() + b" | "
        lines = [line for line in sink.text(stream).split(b"\n") if line.startswith(prefix)]
        expected = data.split(b"\n")
        if not expected[-1]:
            expected.pop()
        assert lines == [prefix + line for line in expected]


def test_a_line_without_end_comes_in_pieces_and_needs_bounded_memory() -> None:
    sink = Sink()
    weaver = LineMultiplexer(sink)
    for _ in range(10):
        weaver.feed("a", "stdout", b"x" * MAX_LINE_BYTES)
    assert len(sink.text()) > 8 * MAX_LINE_BYTES
    weaver.close()
    assert sink.text().replace(b"a | ", b"").replace(b"\n", b"") == b"x" * (10 * MAX_LINE_BYTES)


def test_endless_progress_is_kept_as_its_last_look_only() -> None:
    sink = Sink()
    weaver = LineMultiplexer(sink)
    for n in range(20_000):
        weaver.feed("a", "stdout", b"%d%%\r" % n)
    weaver.close()
    assert sink.text() == b"a | 19999%\n"


def test_on_a_terminal_an_unfinished_line_is_shown_and_drawn_over() -> None:
    sink = Sink()
    weaver = LineMultiplexer(sink, live_width=80)
    weaver.feed("a", "stdout", b"10%\r")
    weaver.feed("b", "stderr", b"oops\n")
    weaver.feed("a", "stdout", b"100%\n")
    weaver.close()
    assert [data for _, data in sink.said] == [b"\r\x1b[Ka | 10%", b"\r\x1b[K", b"b | oops\n", b"a | 100%\n"]
