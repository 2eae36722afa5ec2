"""Frames between daemon and keeper, however the stream is cut."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowd.keeper.protocol import MAX_BODY_BYTES, MAX_HEADER_BYTES, FrameError, FrameReader, encode

headers = st.dictionaries(
    st.text(max_size=8).filter(lambda name: name != "body_bytes"), st.text(st.characters(), max_size=8) | st.integers()
)
frames = st.lists(st.tuples(headers, st.binary(max_size=40)), max_size=6)


@given(frames, st.lists(st.integers(1, 30)))
def test_frames_come_out_as_they_went_in_wherever_the_stream_is_cut(
    sent: list[tuple[dict[str, Any], bytes]], cuts: list[int]
) -> None:
    stream = b"".join(encode(header, body) for header, body in sent)
    reader = FrameReader()
    received = []
    for size in [*cuts, len(stream) + 1]:
        received += reader.feed(stream[:size])
        stream = stream[size:]
    assert [({k: v for k, v in header.items() if k != "body_bytes"}, body) for header, body in received] == sent


@pytest.mark.parametrize(
    "garbage",
    [
        b"\n",
        b"[]\n",
        b"{\n",
        b"\xff\n",
        b'{"body_bytes":-1}\n',
        b'{"body_bytes":true}\n',
        b'{"body_bytes":%d}\n' % (MAX_BODY_BYTES + 1),
        b"[" * 100_000 + b"\n",
        b" " * MAX_HEADER_BYTES,
        b" " * MAX_HEADER_BYTES + b"\n",
    ],
)
def test_what_is_no_frame_is_refused(garbage: bytes) -> None:
    with pytest.raises(FrameError):
        FrameReader().feed(garbage)


def test_what_is_too_large_is_not_sent() -> None:
    with pytest.raises(FrameError):
        encode({"a": "x" * MAX_HEADER_BYTES})
    with pytest.raises(FrameError):
        encode({}, bytes(MAX_BODY_BYTES + 1))
