"""FLOW_RESULT: how it is found in an output, and read."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowd.domain.result import MAX_RESULT_BYTES, FlowResult, MalformedResult, find, parse


def find_in(output: bytes) -> FlowResult | MalformedResult | None:
    return find(lambda offset, count: output[offset : offset + count], len(output))


@pytest.mark.parametrize(
    ("output", "status"),
    [
        (b'FLOW_RESULT {"status":"changed"}\n', "changed"),
        (b'FLOW_RESULT {"status":"changed"}', "changed"),
        (b'x\r\nFLOW_RESULT {"status":"changed"}\r\n', "changed"),
        (b'[12:00] info FLOW_RESULT   {"status":"skipped"}  \nmore\n', "skipped"),
        (b'FLOW_RESULT {"status":"failed"}\nFLOW_RESULT {"status":"completed"}\nbye', "completed"),
    ],
)
def test_the_last_line_with_the_token_counts(output: bytes, status: str) -> None:
    found = find_in(output)
    assert isinstance(found, FlowResult)
    assert found.status == status


@pytest.mark.parametrize(
    "output",
    [
        b"",
        b"no result\n",
        b'flow_result {"status":"changed"}\n',
        b'FLOW_RESULT\t{"status":"changed"}\n',
        b"FLOW_RESULT",
    ],
)
def test_lines_without_the_exact_token_are_none(output: bytes) -> None:
    assert find_in(output) is None


@pytest.mark.parametrize(
    "output",
    [
        b'FLOW_RESULT {"status":"changed"}\nFLOW_RESULT {oops\n',
        b'FLOW_RESULT {"status":"changed"} trailing\n',
        b'FLOW_RESULT FLOW_RESULT {"status":"changed"}\n',
        b"FLOW_RESULT [1]\n",
        b'FLOW_RESULT {"status":"great"}\n',
        b'FLOW_RESULT {"status":1}\n',
        b'FLOW_RESULT {"status":"changed","n":NaN}\n',
        b'FLOW_RESULT {"status":"changed","n":1e999}\n',
        b"FLOW_RESULT " + b"[" * 100_000 + b"\n",
        b'FLOW_RESULT {"status":"changed","x":"' + b"x" * MAX_RESULT_BYTES + b'"}\n',
    ],
)
def test_a_malformed_last_line_fails_even_after_a_good_one(output: bytes) -> None:
    assert isinstance(find_in(output), MalformedResult)


def test_extra_members_survive_verbatim() -> None:
    found = parse('{"status":"blocked","artifacts":{"threadId":"é☃"},"next":[{"id":"1"}]}'.encode())
    assert isinstance(found, FlowResult)
    assert found.value == {"status": "blocked", "artifacts": {"threadId": "é☃"}, "next": [{"id": "1"}]}


def test_a_lone_surrogate_does_not_break_the_stored_text() -> None:
    found = parse(b'{"status":"changed","x":"\\ud800"}')
    assert isinstance(found, FlowResult)
    found.text.encode()


@given(st.binary(max_size=300), st.integers(0, 200_000), st.dictionaries(st.text(max_size=8), st.text(max_size=20)))
def test_a_result_is_found_behind_any_noise(before: bytes, padding: int, extra: dict[str, str]) -> None:
    said = {**extra, "status": "changed"}
    output = before + b"\n" + b"FLOW_RESULT " + json.dumps(said).encode() + b"\n" + b"." * padding
    found = find_in(output)
    assert isinstance(found, FlowResult)
    assert found.status == "changed"


@given(st.binary(max_size=2000))
def test_no_output_breaks_the_reader(output: bytes) -> None:
    find_in(b"FLOW_RESULT " + output)
    find_in(output)
