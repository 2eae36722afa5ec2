"""Framing: pieces of bytes in, whole messages out, in both framings."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowd.api.framing import Framer, FramingError, Oversize

LIMIT = 64
lines = st.binary(min_size=1, max_size=LIMIT).filter(
    lambda line: line.strip() == line and b"\n" not in line and line[:1].lower() != b"c"
)
messages = st.lists(lines, min_size=1, max_size=8)
cuts = st.lists(st.integers(1, 40), min_size=1, max_size=50)


def pieces(data: bytes, sizes: list[int]) -> list[bytes]:
    found, at, turn = [], 0, 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        found.append(data[at : at + size])
        at += size
        turn += 1
    return found


def feed(data: bytes, sizes: list[int]) -> list[bytes | Oversize]:
    framer = Framer(max_frame_bytes=LIMIT)
    return [message for piece in pieces(data, sizes) for message in framer.feed(piece)]


@given(messages, cuts)
def test_lines_come_whole_however_they_are_cut(sent: list[bytes], sizes: list[int]) -> None:
    assert feed(b"".join(message + b"\n" for message in sent), sizes) == sent


@given(st.lists(st.binary(max_size=LIMIT), min_size=1, max_size=8), cuts)
def test_lsp_frames_come_whole_however_they_are_cut(sent: list[bytes], sizes: list[int]) -> None:
    assert feed(b"".join(b"Content-Length: %d\r\n\r\n%b" % (len(m), m) for m in sent), sizes) == sent


@given(st.integers(LIMIT + 1, 4 * LIMIT), cuts)
def test_an_oversize_line_is_skipped_and_the_next_is_read(size: int, sizes: list[int]) -> None:
    assert feed(b"x" * size + b"\n{}\n", sizes) == [Oversize(size), b"{}"]


@given(st.integers(LIMIT + 1, 4 * LIMIT), cuts)
def test_an_oversize_lsp_body_is_skipped_and_the_next_is_read(size: int, sizes: list[int]) -> None:
    data = b"Content-Length: %d\r\n\r\n" % size + b"x" * size + b"content-length: 2\r\nContent-Type: x\r\n\r\n{}"
    assert feed(data, sizes) == [Oversize(size), b"{}"]


def kept_bytes(framer: Framer, data: bytes) -> int:
    """What is still allocated after the framer was fed this a thousand times."""
    tracemalloc.start()
    try:
        assert not any(framer.feed(data) for _ in range(1000))
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


def test_an_oversize_line_takes_no_memory() -> None:
    framer = Framer(max_frame_bytes=LIMIT)
    assert kept_bytes(framer, b"x" * 1000) < 20_000
    assert framer.feed(b"\n") == [Oversize(1_000_000)]


def test_blanks_before_the_first_message_take_no_memory() -> None:
    framer = Framer(max_frame_bytes=LIMIT)
    assert kept_bytes(framer, b" \n" * 500) < 20_000
    assert framer.feed(b"{}\n") == [b"{}"]


@pytest.mark.parametrize("length", [b"", b"-1", b"x", b"1e3", b"9" * 20])
def test_a_bad_content_length_ends_the_connection(length: bytes) -> None:
    with pytest.raises(FramingError):
        Framer(max_frame_bytes=LIMIT).feed(b"Content-Length: %b\r\n\r\n" % length)


def test_answers_are_framed_as_the_questions_were() -> None:
    lines, lsp = Framer(max_frame_bytes=LIMIT), Framer(max_frame_bytes=LIMIT)
    lines.feed(b"{}\n")
    lsp.feed(b"Content-Length: 2\r\n\r\n{}")
    assert lines.frame(b"{}") == b"{}\n"
    assert lsp.frame(b"{}") == b"Content-Length: 2\r\n\r\n{}"


def test_empty_lines_are_no_messages() -> None:
    assert feed(b"\n\r\n  \n{}\n", [100]) == [b"{}"]


def test_a_last_line_needs_no_newline() -> None:
    for sent, left in ((b"{}\n[1]", b"[1]"), (b"con", b"con"), (b" {} ", b"{}")):
        framer = Framer(max_frame_bytes=LIMIT)
        framer.feed(sent)
        assert framer.finish() == [left]
        assert framer.finish() == []


def test_nothing_is_left_of_whole_lines_and_of_half_an_lsp_frame() -> None:
    for sent in (b"", b"\n \n", b"{}\n", b"Content-Length: 5\r\n\r\n{"):
        framer = Framer(max_frame_bytes=LIMIT)
        framer.feed(sent)
        assert framer.finish() == []


def test_an_oversize_last_line_is_told() -> None:
    framer = Framer(max_frame_bytes=LIMIT)
    framer.feed(b"x" * (LIMIT + 1))
    framer.feed(b"xx")
    assert framer.finish() == [Oversize(LIMIT + 3)]
