"""Followed outputs on a terminal leave lines of progress out, and nothing else, whatever pieces they come in."""

import pytest

from flowd.cli.follow.progress import WithoutProgress

OUTPUT = (
    b'one\nFLOW_PROGRESS {"percent": 1}\nFLOW_PROGRESS is a word\nFLOW_PRO\n\nsaid: FLOW_PROGRESS {}\r10%\r20%\nlast F'
)
SHOWN = b"one\nFLOW_PRO\n\nsaid: FLOW_PROGRESS {}\r10%\r20%\nlast F"


@pytest.mark.parametrize("size", [1, 2, 5, 13, 14, 15, 40, 1000])
def test_lines_of_progress_are_left_out(size: int) -> None:
    stream = WithoutProgress()
    pieces = [stream.feed(OUTPUT[at : at + size]) for at in range(0, len(OUTPUT), size)]
    assert b"".join(pieces) + stream.end() == SHOWN


def test_what_only_begins_like_progress_is_shown_at_the_end() -> None:
    stream = WithoutProgress()
    assert stream.feed(b"FLOW_PROG") == b""
    assert stream.end() == b"FLOW_PROG"


def test_other_output_is_not_held_back() -> None:
    stream = WithoutProgress()
    assert stream.feed(b"10%\r") == b"10%\r"
    assert stream.feed(b"FLOW_PROGRESS {}\n") == b"FLOW_PROGRESS {}\n"


def test_an_endless_line_of_progress_is_not_held_for_ever() -> None:
    stream = WithoutProgress()
    assert len(stream.feed(b"FLOW_PROGRESS " + b"x" * 100_000)) > 100_000
    assert stream.end() == b""
