"""The one seam of the client library, run on both of its transports over a real socket."""

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scripted_daemon import Call, NoAnswerError, RefusalError, Script, ScriptedDaemon, echo

from flowd_client import wire
from flowd_client.aio_unix import AsyncUnixTransport
from flowd_client.errors import (
    BadAnswerError,
    CallError,
    ConflictError,
    ConnectionLostError,
    DaemonNotRunningError,
    FlowClientError,
    InvalidCallError,
    NotFoundError,
    RefusedError,
    TimedOutError,
)
from flowd_client.unix import UnixTransport

Calls = list[tuple[str, dict[str, Any]]]
Outcome = Any


def call_blocking(
    path: Path, calls: Calls, timeout_s: float | None, between: Callable[[], None] = bool
) -> list[Outcome]:
    transport = UnixTransport(path)
    outcomes = []
    try:
        for method, params in calls:
            try:
                outcomes.append(transport.call(method, params, timeout_s=timeout_s))
            except FlowClientError as error:
                outcomes.append(error)
            between()
    finally:
        transport.close()
    return outcomes


def call_async(path: Path, calls: Calls, timeout_s: float | None, between: Callable[[], None] = bool) -> list[Outcome]:
    async def run() -> list[Outcome]:
        transport = AsyncUnixTransport(path)
        outcomes = []
        try:
            for method, params in calls:
                try:
                    outcomes.append(await transport.call(method, params, timeout_s=timeout_s))
                except FlowClientError as error:
                    outcomes.append(error)
                between()
        finally:
            await transport.close()
        return outcomes

    return asyncio.run(run())


Caller = Callable[..., list[Outcome]]


@pytest.fixture(params=[call_blocking, call_async], ids=["blocking", "async"])
def caller(request: pytest.FixtureRequest) -> Caller:
    return request.param


def test_calls_share_one_connection_and_give_their_results(caller: Caller, serve) -> None:
    daemon = serve(echo)
    outcomes = caller(daemon.path, [("a", {"x": 1}), ("b", {"y": "ü\ud800"}), ("c", {})], 10)
    assert [outcome["method"] for outcome in outcomes] == ["a", "b", "c"]
    assert outcomes[1]["params"] == {"y": "ü\ud800"}
    assert len(daemon.connections) == 1


def test_a_large_answer_arrives_whole(caller: Caller, serve) -> None:
    daemon = serve(lambda call: "x" * 3_000_000)
    (outcome,) = caller(daemon.path, [("big", {"ballast": "y" * 1_000_000})], 30)
    assert outcome == "x" * 3_000_000


def test_an_answer_in_pieces_between_notifications_and_blank_lines_is_found(caller: Caller, serve) -> None:
    def script(call: Call) -> Any:
        frame = json.dumps({"jsonrpc": "2.0", "id": call.id, "result": "späte Antwort"}, ensure_ascii=False).encode()
        call.connection.send(b'{"jsonrpc":"2.0","method":"flow.update","params":{}}\n\n')
        call.connection.send(b'{"jsonrpc":"2.0","id":99999,"result":"a stranger\'s"}\n')
        for at in range(0, len(frame), 7):
            call.connection.send(frame[at : at + 7])
        call.connection.send(b"\n")
        raise NoAnswerError

    daemon = serve(script)
    assert caller(daemon.path, [("slow", {})] * 2, 10) == ["späte Antwort"] * 2


@pytest.mark.parametrize(
    ("code", "slug", "kind"),
    [
        (-32021, "run_not_found", NotFoundError),
        (-32030, "run_finished", ConflictError),
        (-32040, "queue_full", RefusedError),
        (-32999, "something_new", CallError),
    ],
)
def test_a_refusal_has_its_class_slug_and_code(caller: Caller, serve, code: int, slug: str, kind: type) -> None:
    def script(call: Call) -> Any:
        if call.method == "bad":
            raise RefusalError(code, slug, "A sentence.")
        return "fine"

    daemon = serve(script)
    refused, fine = caller(daemon.path, [("bad", {}), ("good", {})], 10)
    assert type(refused) is kind
    assert (refused.slug, refused.code, refused.message) == (slug, code, "A sentence.")
    assert fine == "fine"
    assert len(daemon.connections) == 1, "a refusal is an answer: the connection goes on"


def test_a_daemon_that_does_not_know_that_steps_wait_is_asked_without_saying_so(caller: Caller, serve) -> None:
    def script(call: Call) -> Any:
        if "causedBy" in call.params:
            raise RefusalError(-32602, "invalid_params", "Object contains unknown field 'causedBy'.")
        if call.method == "flow.cancelRun":
            raise RefusalError(-32602, "invalid_params", "Something else.")
        return call.params

    daemon = serve(script)
    calls = [
        ("flow.waitRun", {"runId": "r", "causedBy": "own"}),
        ("flow.replay", {"eventId": "e", "wait": True, "causedBy": "own"}),
        ("flow.cancelRun", {"runId": "r"}),
    ]
    waited, replayed, refused = caller(daemon.path, calls, 10)
    assert (waited, replayed) == ({"runId": "r"}, {"eventId": "e", "wait": True})
    assert isinstance(refused, InvalidCallError)
    assert [call.method for call in daemon.calls] == ["flow.waitRun"] * 2 + ["flow.replay"] * 2 + ["flow.cancelRun"]


def test_no_socket_says_where_and_what_to_do(caller: Caller, tmp_path: Path) -> None:
    path = tmp_path / "ws" / ".codex" / "flowd" / "flowd.sock"
    (error,) = caller(path, [(wire.STATUS, {})], 10)
    assert isinstance(error, DaemonNotRunningError)
    assert error.slug == "no_daemon"
    assert str(path) in error.message
    assert f"flowd serve -w {tmp_path / 'ws'}" in error.message


def test_a_dead_daemons_socket_is_no_daemon(caller: Caller, tmp_path: Path) -> None:
    path = tmp_path / "dead.sock"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
    (error,) = caller(path, [(wire.STATUS, {})], 10)
    assert isinstance(error, DaemonNotRunningError)
    assert "nothing listens" in error.message


def test_a_daemon_that_has_just_bound_its_socket_is_given_the_time_to_listen(caller: Caller, serve) -> None:
    daemon = serve(echo, bound_s=0.1)
    assert caller(daemon.path, [("a", {})], 10) == [{"method": "a", "params": {}}]


def test_a_silent_daemon_times_out_and_the_next_call_is_answered(caller: Caller, serve) -> None:
    def script(call: Call) -> Any:
        if call.method == "silent":
            raise NoAnswerError
        return "here"

    daemon = serve(script)
    (late,) = caller(daemon.path, [("silent", {})], 0.2)
    assert isinstance(late, TimedOutError)
    assert late.slug == "timed_out"
    assert late.data["timeoutMs"] == 200
    assert caller(daemon.path, [("talks", {})], 10) == ["here"]


def test_a_limit_may_be_years_away(caller: Caller, serve) -> None:
    daemon = serve(echo)
    (outcome,) = caller(daemon.path, [("patient", {})], 1e10)
    assert outcome["method"] == "patient"


def hang_up_on_first(daemon_calls: list[str]) -> Script:
    def script(call: Call) -> Any:
        daemon_calls.append(call.method)
        if len(daemon_calls) == 1:
            call.connection.hang_up()
            raise NoAnswerError
        return "second time"

    return script


def test_a_retry_safe_call_is_sent_again_once(caller: Caller, serve) -> None:
    seen: list[str] = []
    daemon = serve(hang_up_on_first(seen))
    assert caller(daemon.path, [(wire.GET_RUN, {"runId": "r"})], 10) == ["second time"]
    assert seen == [wire.GET_RUN] * 2


def test_a_call_that_may_have_happened_is_not_sent_again(caller: Caller, serve) -> None:
    seen: list[str] = []
    daemon = serve(hang_up_on_first(seen))
    (error,) = caller(daemon.path, [(wire.REPLAY, {"eventId": "e"})], 10)
    assert isinstance(error, ConnectionLostError)
    assert wire.REPLAY in error.message
    assert seen == [wire.REPLAY]


@pytest.mark.parametrize(
    ("method", "remedy"),
    [(wire.DISPATCH, "send it again with the same id"), (wire.WAIT_RUN, "Ask again."), (wire.REPLAY, "look before")],
)
def test_a_daemon_that_hangs_up_and_is_gone_leaves_a_lost_call(caller: Caller, serve, method: str, remedy: str) -> None:
    def script(call: Call) -> Any:
        daemon.path.unlink()
        call.connection.hang_up()
        raise NoAnswerError

    daemon = serve(script)
    lost, never_sent = caller(daemon.path, [(method, {})] * 2, 10)
    assert isinstance(lost, ConnectionLostError)
    assert remedy in lost.message
    assert lost.data == {"method": method}
    assert isinstance(lost.__cause__, DaemonNotRunningError) == (method in wire.RETRY_SAFE)
    assert isinstance(never_sent, DaemonNotRunningError)


def test_a_daemon_that_always_hangs_up_is_tried_twice(caller: Caller, serve) -> None:
    def script(call: Call) -> Any:
        call.connection.hang_up()
        raise NoAnswerError

    daemon = serve(script)
    (error,) = caller(daemon.path, [(wire.GET_RUN, {})], 10)
    assert isinstance(error, ConnectionLostError)
    assert daemon.methods == [wire.GET_RUN] * 2


def test_a_restarted_daemon_is_found_again_even_by_calls_that_are_not_repeated(caller: Caller, serve) -> None:
    daemon = serve(lambda call: "here")

    def restart() -> None:
        for connection in daemon.connections:
            with contextlib.suppress(OSError):
                connection.hang_up()

    assert caller(daemon.path, [(wire.REPLAY, {})] * 3, 10, between=restart) == ["here"] * 3
    assert len(daemon.connections) == 3


def test_a_daemon_that_refuses_the_connection_is_quoted(caller: Caller, serve) -> None:
    refusal = {"code": -32042, "message": "64 clients are connected.", "data": {"slug": "too_many_connections"}}
    greeting = json.dumps({"jsonrpc": "2.0", "id": None, "error": refusal}).encode() + b"\n"
    daemon = serve(echo, greeting=greeting)
    (error,) = caller(daemon.path, [(wire.REPLAY, {"ballast": "x" * 2_000_000})], 10)
    assert isinstance(error, RefusedError)
    assert error.slug == "too_many_connections"


@pytest.mark.parametrize("frame", [b"HTTP/1.1 400 Bad Request\n", b"[1]\n", b'{"jsonrpc":"2.0","id":1}\n', b"\xff\n"])
def test_what_is_no_answer_is_said_so(caller: Caller, serve, frame: bytes) -> None:
    def script(call: Call) -> Any:
        call.connection.send(frame)
        raise NoAnswerError

    (error,) = caller(serve(script).path, [(wire.REPLAY, {})], 10)
    assert isinstance(error, BadAnswerError)
    assert error.slug == "bad_answer"


def test_a_parameter_that_is_no_json_is_refused_before_sending(caller: Caller, serve) -> None:
    daemon = serve(echo)
    refused, fine = caller(daemon.path, [("a", {"x": float("nan")}), ("b", {})], 10)
    assert isinstance(refused, InvalidCallError)
    assert (refused.slug, refused.code) == ("invalid_params", -32602)
    assert fine["method"] == "b"
    assert daemon.methods == ["b"]


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="the detour over /proc is Linux's")
def test_a_socket_path_longer_than_the_kernel_takes_is_reached(caller: Caller, tmp_path: Path) -> None:
    folder = tmp_path.joinpath(*["a-folder-with-a-long-name-for-no-reason"] * 4)
    folder.mkdir(parents=True)
    before = len(os.listdir("/proc/self/fd"))
    with ScriptedDaemon(folder / "flowd.sock", echo) as daemon:
        (outcome,) = caller(daemon.path, [("far", {})], 10)
    assert outcome["method"] == "far"
    assert len(os.listdir("/proc/self/fd")) <= before
