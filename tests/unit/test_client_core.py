"""What both clients decide without I/O: framing, HTTP/1.1, server-sent events, and which connections are kept."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kept_connection import Kept

from flowd_client import wire
from flowd_client._core.http11 import Response
from flowd_client._core.http_plans import Exchange, exchange, plan
from flowd_client._core.http_responses import Reply
from flowd_client._core.jsonrpc import MAX_FRAME_BYTES, Conversation
from flowd_client._core.pool import Pool
from flowd_client._core.sse import SseParser, stream_request, update_of
from flowd_client.errors import BadAnswerError, InvalidCallError, UnavailableModeError
from flowd_client.methods import METHODS


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """The data in parts, cut at these places."""
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[begin:end] for begin, end in pairwise(edges)]


PLACES = st.lists(st.integers(0, 10_000), max_size=12)


@given(st.lists(st.dictionaries(st.text(max_size=4), st.text(max_size=8), max_size=3), max_size=5), PLACES)
def test_messages_come_out_whole_however_they_are_cut(messages: list[dict[str, str]], places: list[int]) -> None:
    data = b"\n".join(json.dumps(message).encode() + b"\n" for message in messages)
    conversation, found = Conversation(), []
    for part in cut(data, places):
        conversation.feed(part)
        while (message := conversation.message()) is not None:
            found.append(message)
    assert found == messages
    assert not conversation.has_unread


def test_a_message_without_an_end_is_given_up() -> None:
    conversation = Conversation()
    conversation.feed(b"x" * (MAX_FRAME_BYTES + 1))
    with pytest.raises(BadAnswerError, match="longer than"):
        conversation.message()


HEAD = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nX-A: b\r\n"
RESPONSES = {
    "length": HEAD + b"Content-Length: 11\r\n\r\nhello\r\nyou\n",
    "chunks": HEAD + b"Transfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n6\r\n\r\nyou\n\r\n0\r\nt: 1\r\n\r\n",
    "end": HEAD + b"\r\nhello\r\nyou\n",
}


@pytest.mark.parametrize("kind", RESPONSES)
@given(PLACES)
def test_a_response_is_read_however_it_is_cut(kind: str, places: list[int]) -> None:
    response = Response()
    for part in cut(RESPONSES[kind], places):
        response.feed(part)
    if kind == "end":
        assert not response.is_complete
        response.feed(b"")
    assert response.is_complete
    assert response.reply == Reply(200, response.headers, b"hello\r\nyou\n")
    assert response.headers["x-a"] == "b"
    assert response.keeps_connection == (kind != "end")


@pytest.mark.parametrize(
    ("data", "keeps"),
    [
        (b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n", False),
        (b"HTTP/1.1 204 No Content\r\n\r\n", True),
        (b"HTTP/1.1 204 No Content\r\n\r\nmore", False),  # whatever that is, it belongs to no request of ours
    ],
)
def test_a_connection_is_kept_only_if_it_can_be_used_again(data: bytes, keeps: bool) -> None:
    response = Response()
    response.feed(data)
    assert response.is_complete
    assert response.keeps_connection == keeps


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n-1\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 70_000,
    ],
)
def test_what_is_no_response_is_said_so(data: bytes) -> None:
    with pytest.raises(BadAnswerError, match="The server's answer"):
        Response().feed(data)


@pytest.mark.parametrize("kind", ["length", "chunks"])
def test_a_response_that_is_cut_short_is_no_response(kind: str) -> None:
    response = Response()
    response.feed(RESPONSES[kind][:-1])
    with pytest.raises(EOFError):
        response.feed(b"")


@given(PLACES)
def test_updates_are_read_however_they_are_cut(places: list[int]) -> None:
    data = b': hello\r\nid: c1\n\nid: c2\ndata: {"kind":\ndata: "run"}\n\n: still there\n\ndata: {}\n\n'
    parser = SseParser()
    messages = [message for part in cut(data, places) for message in parser.feed(part)]
    assert [message.id for message in messages] == ["c1", "c2", "c2"]
    assert [update_of(message) for message in messages] == [None, {"kind": "run"}, {}]


@pytest.mark.parametrize(
    "piece",
    [b"x" * (1 << 20), b"data: " + b"x" * (1 << 20) + b"\n", b"data\n" * (1 << 16)],
    ids=["line", "lines", "empty"],
)
def test_an_update_without_end_is_given_up(piece: bytes) -> None:
    parser = SseParser()
    with pytest.raises(BadAnswerError):
        for _ in range(MAX_FRAME_BYTES // (1 << 20) + 1):
            assert parser.feed(piece) == []


@pytest.mark.parametrize(
    ("method", "params", "request_"),
    [
        (wire.DISPATCH, {"event": {"id": "e"}, "wait": True}, ("POST", "/events?wait=true", b'{"id":"e"}', True)),
        (wire.DISPATCH, {"id": "e", "payload": None}, ("POST", "/events", b'{"id":"e","payload":null}', True)),
        (wire.EXPLAIN, {"event": {"id": "e"}}, ("POST", "/explain", b'{"id":"e"}', True)),
        (wire.REPLAY, {"eventId": "a/b", "steps": ["s"]}, ("POST", "/events/a%2Fb/replay", b'{"steps":["s"]}', False)),
        (wire.CANCEL_RUN, {"runId": "r"}, ("POST", "/runs/r/cancel", b"{}", False)),
        (wire.WAIT_RUN, {"runId": "r", "timeoutMs": 5}, ("GET", "/runs/r/wait?timeoutMs=5", None, True)),
        (wire.LIST_RUNS, {"flow": "é &", "cursor": None}, ("GET", "/runs?flow=%C3%A9+%26", None, True)),
    ],
)
def test_a_call_becomes_a_request(method: str, params: dict[str, object], request_: tuple[object, ...]) -> None:
    assert exchange(method, params) == Exchange(*request_)  # type: ignore[arg-type]


def test_a_call_that_http_has_not_or_that_lacks_a_parameter_is_refused() -> None:
    for method in (wire.DRAIN, "no.such", wire.SUBSCRIBE):
        with pytest.raises(UnavailableModeError):
            plan(method, {})
    with pytest.raises(InvalidCallError, match="needs 'runId'"):
        plan(wire.GET_RUN, {})
    assert stream_request({"topics": ["run", "event"], "after": "j1"}).target == "/stream?topics=run%2Cevent&after=j1"


def test_a_method_with_a_route_can_be_called_over_http() -> None:
    params = {"eventId": "e", "runId": "r", "event": {}, "host": "h", "noticeId": "n", "notifier": "m"}
    for method in METHODS.values():
        if method.routes and method.name != wire.SUBSCRIBE:
            assert plan(method.name, params) is not None


def test_a_pool_gives_the_newest_quiet_connection_and_closes_the_others() -> None:
    pool: Pool[Kept] = Pool()
    old, newer, ended = Kept(), Kept(), Kept(is_quiet=False)
    for connection in (old, newer, ended):
        pool.put_back(connection, pool.epoch)
    assert pool.take() is newer
    assert (old.is_closed, newer.is_closed, ended.is_closed) == (False, False, True)
    assert pool.take() is old
    assert pool.take() is None


def test_a_connection_in_use_while_its_pool_is_cleared_is_closed_when_it_comes_back() -> None:
    pool: Pool[Kept] = Pool()
    idle, used, epoch = Kept(), Kept(), pool.epoch
    pool.put_back(idle, epoch)
    pool.clear()
    assert (idle.is_closed, used.is_closed) == (True, False)
    pool.put_back(used, epoch)
    assert used.is_closed
    assert pool.take() is None
