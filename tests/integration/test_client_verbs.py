"""The verbs of both clients, over a real socket: what they send, and what they give."""

import asyncio
import contextlib
import http.server
import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from scripted_daemon import Call, NoAnswerError, RefusalError, ScriptedDaemon

from flowd_client import (
    BadAnswerError,
    ConnectionLostError,
    DaemonNotRunningError,
    DispatchView,
    FlowClient,
    FlowClientError,
    NotFoundError,
    RunView,
    TimedOutError,
    create_async_flow_client,
    create_flow_client,
    wire,
)
from flowd_client._core.jsonrpc import ClosedError
from flowd_client.errors import of_answer

RUN = {"id": "r", "status": "completed", "processStatus": "completed", "attemptCount": 1}
ANSWERS: dict[str, Any] = {
    wire.DISPATCH: {"status": "accepted", "eventId": "e", "runIds": ["r"], "matched": 1},
    wire.REPLAY: {"status": "accepted", "eventId": "e", "runIds": ["r_replay"], "matched": 1},
    wire.GET_RUN: {"run": RUN},
    wire.WAIT_RUN: {"run": RUN, "timedOut": False},
    wire.LIST_RUNS: {"runs": [RUN], "nextCursor": "c"},
    wire.CANCEL_EVENT: {"runs": [RUN]},
    wire.LIST_EVENTS: {"events": [{"id": "e", "type": "t"}]},
    wire.GET_EVENT: {"event": {"id": "e"}, "runs": [RUN]},
    wire.STATUS: {"pid": 7},
}


def script(call: Call) -> Any:
    if call.method in ANSWERS:
        return ANSWERS[call.method]
    raise RefusalError(-32021, "run_not_found")


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[ScriptedDaemon]:
    with ScriptedDaemon(tmp_path / "d.sock", script) as opened:
        yield opened


class Restarting:
    """A transport whose daemon is lost under the first calls, as each of these errors tells, and then answers."""

    def __init__(self, *errors: FlowClientError) -> None:
        self.errors = list(errors)
        self.calls: list[tuple[str, Any]] = []

    def call(self, method: str, params: Any, *, timeout_s: float | None) -> Any:
        self.calls.append((method, params.get("timeoutMs")))
        if self.errors:
            raise self.errors.pop(0)
        return ANSWERS[method]

    def close(self) -> None:
        pass


def lost(method: str, cause: BaseException | None) -> ConnectionLostError:
    error = ConnectionLostError(method)
    error.__cause__ = cause
    return error


GONE = DaemonNotRunningError("no", socket_path="/s")


def test_what_is_safe_to_repeat_is_asked_again_until_the_daemon_is_back_and_waits_for_what_is_left() -> None:
    passing = of_answer({"data": {"slug": "shutting_down"}})
    transport = Restarting(lost(wire.WAIT_RUN, GONE), GONE, passing, GONE, lost(wire.WAIT_RUN, GONE))
    assert FlowClient(transport).wait_run("r", timeout_ms=9_000).id == "r"
    limits = [timeout_ms for _, timeout_ms in transport.calls]
    assert len(limits) == 6
    assert limits == sorted(set(limits), reverse=True)
    transport = Restarting(lost(wire.DISPATCH, GONE))
    assert FlowClient(transport).dispatch_event({"id": "e", "type": "t"}, wait=True).run_ids == ("r",)


@pytest.mark.parametrize(
    "error",
    [
        GONE,  # it never was there
        lost(wire.WAIT_RUN, ClosedError()),  # this side closed
        of_answer({"data": {"slug": "shutting_down"}}),
        TimedOutError(wire.WAIT_RUN, 1),
        BadAnswerError("no"),
    ],
    ids=lambda error: f"{type(error).__name__}-{type(error.__cause__).__name__}",
)
def test_what_does_not_pass_is_raised_at_once(error: FlowClientError) -> None:
    transport = Restarting(error)
    with pytest.raises(type(error)):
        FlowClient(transport).wait_run("r")
    assert len(transport.calls) == 1


def test_a_daemon_that_hangs_up_on_whoever_asks_this_is_asked_for_a_second_and_no_longer() -> None:
    transport = Restarting(*[lost(wire.WAIT_RUN, None)] * 100)
    with pytest.raises(ConnectionLostError):
        FlowClient(transport).wait_run("r")
    assert 1 < len(transport.calls) < 20


@pytest.mark.parametrize("method", sorted(set(wire.METHODS) - wire.RETRY_SAFE))
def test_what_may_have_been_done_is_never_repeated(method: str) -> None:
    transport = Restarting(lost(method, GONE))
    with pytest.raises(ConnectionLostError):
        FlowClient(transport).call(method)
    assert len(transport.calls) == 1


def test_a_daemon_that_stays_away_is_a_lost_call_within_the_calls_own_limit() -> None:
    transport = Restarting(lost(wire.GET_RUN, GONE), *[GONE] * 1000)
    with pytest.raises(ConnectionLostError) as raised:
        FlowClient(transport, timeout_s=0.5).get_run("r")
    assert raised.value.__cause__ is GONE
    assert 2 <= len(transport.calls) <= 5


VERBS: list[tuple[str, tuple[Any, ...], dict[str, Any], str, dict[str, Any]]] = [
    ("dispatch_event", ({"id": "e"},), {}, wire.DISPATCH, {"event": {"id": "e"}}),
    (
        "dispatch_event",
        ({"id": "e"},),
        {"wait": True, "timeout_ms": 5},
        wire.DISPATCH,
        {"event": {"id": "e"}, "wait": True, "timeoutMs": 5},
    ),
    ("replay_event", ("e",), {"steps": ["s"]}, wire.REPLAY, {"eventId": "e", "steps": ["s"]}),
    ("get_run", ("r",), {}, wire.GET_RUN, {"runId": "r"}),
    ("wait_run", ("r",), {}, wire.WAIT_RUN, {"runId": "r"}),
    ("list_runs", (), {"status": "failed", "limit": 2}, wire.LIST_RUNS, {"status": "failed", "limit": 2}),
    ("list_events", (), {"type": "t"}, wire.LIST_EVENTS, {"type": "t"}),
    ("get_event", ("e",), {}, wire.GET_EVENT, {"eventId": "e"}),
    ("cancel_event", ("e",), {}, wire.CANCEL_EVENT, {"eventId": "e"}),
    ("status", (), {}, wire.STATUS, {}),
    ("call", (wire.STATUS, {"settings": True}), {}, wire.STATUS, {"settings": True}),
]


@pytest.mark.parametrize(("verb", "args", "options", "method", "params"), VERBS)
def test_a_verb_sends_the_same_and_gives_the_same_in_both_clients(
    daemon: ScriptedDaemon,
    verb: str,
    args: tuple[Any, ...],
    options: dict[str, Any],
    method: str,
    params: dict[str, Any],
) -> None:
    with create_flow_client(socket_path=daemon.path) as client:
        blocking = getattr(client, verb)(*args, **options)

    async def run() -> Any:
        async with create_async_flow_client(socket_path=daemon.path) as client:
            return await getattr(client, verb)(*args, **options)

    assert asyncio.run(run()) == blocking
    assert [(call.method, call.params) for call in daemon.calls] == [(method, params)] * 2


def test_views_come_back(daemon: ScriptedDaemon) -> None:
    with create_flow_client(socket_path=daemon.path) as client:
        assert isinstance(client.dispatch_event({"id": "e"}), DispatchView)
        run = client.get_run("r")
        assert isinstance(run, RunView)
        assert run.is_final
        with pytest.raises(NotFoundError):
            client.retry_run("nope")


class Output:
    """A run of two attempts, the second of which comes only after the first was read; output grows call by call."""

    def __init__(self) -> None:
        self.attempt = 0
        self.streams = {
            1: {"stdout": [b"one ", b"\xc3\xbc\n"], "stderr": [b"oops\n"]},
            2: {"stdout": [b"two\n"], "stderr": []},
        }
        self.written: dict[tuple[int, str], bytes] = {}

    def __call__(self, call: Call) -> Any:
        if call.method == wire.WAIT_RUN:
            self.attempt = min(2, self.attempt + 1)
            status = "completed" if self.attempt == 2 else "running"
            return {"run": {"id": "r", "status": status, "processStatus": status, "attemptCount": self.attempt}}
        key = (call.params["attempt"], call.params["stream"])
        pending = self.streams[key[0]][key[1]]
        if pending:
            self.written[key] = self.written.get(key, b"") + pending.pop(0)
        data = self.written.get(key, b"")
        offset = call.params["offset"]
        text = data[offset:].decode()
        return {"text": text, "offset": offset, "nextOffset": len(data), "size": len(data), "eof": not pending}


@pytest.mark.parametrize("client", ["blocking", "async"])
def test_following_reads_both_streams_of_every_attempt_to_their_ends(tmp_path: Path, client: str) -> None:
    with ScriptedDaemon(tmp_path / "o.sock", Output()) as daemon:
        if client == "blocking":
            with create_flow_client(socket_path=daemon.path) as blocking:
                chunks = list(blocking.follow_output("r"))
        else:

            async def run() -> list[tuple[str, str]]:
                async with create_async_flow_client(socket_path=daemon.path) as following:
                    return [chunk async for chunk in following.follow_output("r")]

            chunks = asyncio.run(run())
    said = {kind: "".join(text for stream, text in chunks if stream == kind) for kind in ("stdout", "stderr")}
    assert said == {"stdout": "one ü\ntwo\n", "stderr": "oops\n"}


def test_following_a_run_that_was_canceled_in_the_queue_ends(tmp_path: Path) -> None:
    canceled = {"run": {"id": "r", "status": "canceled", "processStatus": "canceled", "attemptCount": 0}}
    with (
        ScriptedDaemon(tmp_path / "c.sock", lambda call: canceled) as daemon,
        create_flow_client(socket_path=daemon.path) as client,
    ):
        assert list(client.follow_output("r")) == []
        assert daemon.methods == [wire.WAIT_RUN]


PART = {"text": "", "offset": 0, "nextOffset": 0, "size": 0, "eof": True}
HELD_S = 1.2


def held_then_answered() -> Callable[[], bool]:
    """Whether this is the first call, which is held for a while and then cut off."""
    calls = itertools.count()

    def is_cut_off() -> bool:
        if next(calls):
            return False
        time.sleep(HELD_S)
        return True

    return is_cut_off


@contextlib.contextmanager
def socket_that_cuts_off(folder: Path) -> Iterator[tuple[dict[str, Any], list[int]]]:
    """Options of a client, and what it was asked to wait."""
    waits: list[int] = []
    is_cut_off = held_then_answered()

    def answer(call: Call) -> Any:
        waits.append(call.params["waitMs"])
        if is_cut_off():
            call.connection.hang_up()
            raise NoAnswerError
        return PART

    with ScriptedDaemon(folder / "cut.sock", answer) as daemon:
        yield {"mode": "socket", "socket_path": daemon.path}, waits


@contextlib.contextmanager
def http_that_cuts_off(folder: Path) -> Iterator[tuple[dict[str, Any], list[int]]]:
    waits: list[int] = []
    is_cut_off = held_then_answered()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            (wait,) = parse_qs(urlsplit(self.path).query)["waitMs"]
            waits.append(int(wait))
            if is_cut_off():
                return
            body = json.dumps(PART).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield {"mode": "http", "base_url": f"http://127.0.0.1:{server.server_port}"}, waits
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("make", [create_flow_client, create_async_flow_client], ids=["blocking", "async"])
@pytest.mark.parametrize("serving", [socket_that_cuts_off, http_that_cuts_off], ids=["socket", "http"])
def test_what_was_waited_before_the_daemon_was_lost_is_not_waited_again(
    tmp_path: Path, make: Callable[..., Any], serving: Callable[[Path], Any]
) -> None:
    async def ask(client: Any) -> Any:
        async with client:
            return await client.read_output("r", wait_ms=5000)

    with serving(tmp_path) as (options, waits):
        client = make(**options)
        if make is create_async_flow_client:
            part = asyncio.run(ask(client))
        else:
            with client:
                part = client.read_output("r", wait_ms=5000)
    assert part.is_end
    first, second = waits
    assert first == 5000
    assert second <= 5000 - HELD_S * 1000
