"""Connections of the client library that threads, tasks and forked processes share."""

import asyncio
import os
import socket
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import pytest
from kept_connection import Kept
from scripted_daemon import Call, NoAnswerError, echo

from flowd_client import errors, wire
from flowd_client._core.deadline import Deadline
from flowd_client._core.pool import Pool
from flowd_client._sync.stream import Stream
from flowd_client.aio_unix import AsyncUnixTransport
from flowd_client.errors import (
    ConflictError,
    ConnectionLostError,
)
from flowd_client.unix import UnixTransport


def test_a_wait_in_one_thread_does_not_hold_up_another(serve) -> None:
    release = threading.Event()

    def script(call: Call) -> Any:
        if call.method == wire.CANCEL_RUN:
            release.set()
            return "canceled"
        assert release.wait(60)
        return "waited"

    daemon = serve(script)
    transport = UnixTransport(daemon.path)
    outcomes: list[Any] = []
    waiter = threading.Thread(target=lambda: outcomes.append(transport.call(wire.WAIT_RUN, {}, timeout_s=None)))
    waiter.start()
    assert transport.call(wire.CANCEL_RUN, {}, timeout_s=10) == "canceled"
    waiter.join(60)
    transport.close()
    assert outcomes == ["waited"]


def test_a_connection_in_use_at_close_is_closed_by_its_own_call(serve) -> None:
    came, release = threading.Event(), threading.Event()

    def script(call: Call) -> Any:
        came.set()
        assert release.wait(60)
        return "answered"

    transport = UnixTransport(serve(script).path)
    outcomes: list[Any] = []
    caller = threading.Thread(target=lambda: outcomes.append(transport.call(wire.WAIT_RUN, {}, timeout_s=30)))
    caller.start()
    assert came.wait(60)
    transport.close()
    release.set()
    caller.join(60)
    assert outcomes == ["answered"]
    assert transport._channels._pool._idle == []


def test_many_threads_get_their_own_answers(serve) -> None:
    daemon = serve(lambda call: call.params["n"])
    transport = UnixTransport(daemon.path)
    wrong: list[int] = []

    def work(base: int) -> None:
        asked = range(base, base + 25)
        wrong.extend(n for n in asked if transport.call("echo", {"n": n}, timeout_s=30) != n)

    threads = [threading.Thread(target=work, args=(base * 100,)) for base in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    transport.close()
    assert wrong == []
    assert len(daemon.calls) == 200
    assert len(daemon.connections) <= 8


def test_a_forked_child_does_not_speak_on_its_parents_connection(serve) -> None:
    daemon = serve(echo)
    transport = UnixTransport(daemon.path)
    transport.call("before", {}, timeout_s=10)
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if transport.call("in the child", {}, timeout_s=10)["method"] == "in the child" else 1)
        finally:
            os._exit(2)
    transport.call("after", {}, timeout_s=10)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    transport.close()
    assert len(daemon.connections) == 2


def test_letting_go_of_a_connection_does_not_end_it_for_a_forked_process() -> None:
    ours, daemons = socket.socketpair()
    with ours, daemons:
        childs = Stream(ours.dup(), Deadline("any", 10))
        childs.close()
        ours.send(b"still here")
        assert daemons.recv(64) == b"still here"


def test_closing_a_subscription_ends_a_wait_for_its_next_update_in_another_thread(serve) -> None:
    daemon = serve(lambda call: {"cursor": "c"})
    transport = UnixTransport(daemon.path)
    stream = transport.stream(wire.SUBSCRIBE, {}, timeout_s=10)
    raised: list[BaseException] = []

    def wait() -> None:
        try:
            stream.next()
        except ConnectionLostError as error:
            raised.append(error)

    waiter = threading.Thread(target=wait)
    waiter.start()
    stream.close()
    waiter.join(60)
    transport.close()
    assert [type(error) for error in raised] == [ConnectionLostError]


def test_async_calls_at_once_are_told_apart_and_share_one_connection(serve) -> None:
    everyone_is_here = threading.Barrier(20)

    def script(call: Call) -> Any:
        everyone_is_here.wait(60)  # no answer before all have asked
        return call.params["n"]

    daemon = serve(script)

    async def run() -> list[int]:
        transport = AsyncUnixTransport(daemon.path)
        try:
            return await asyncio.gather(*(transport.call("echo", {"n": n}, timeout_s=30) for n in range(20)))
        finally:
            await transport.close()

    assert asyncio.run(run()) == list(range(20))
    assert len(daemon.connections) == 1


def test_cancelling_one_async_call_leaves_the_others_alone(serve) -> None:
    release = threading.Event()
    came = threading.Event()

    def script(call: Call) -> Any:
        if call.method == "slow":
            came.set()
            assert release.wait(60)
        return call.method

    daemon = serve(script)

    async def run() -> Any:
        transport = AsyncUnixTransport(daemon.path)
        slow = asyncio.ensure_future(transport.call("slow", {}, timeout_s=None))
        other = asyncio.ensure_future(transport.call("slow", {"other": True}, timeout_s=30))
        assert await asyncio.to_thread(came.wait, 10)
        slow.cancel()
        with pytest.raises(asyncio.CancelledError):
            await slow
        release.set()
        try:
            return await other, await transport.call("next", {}, timeout_s=10)
        finally:
            await transport.close()

    assert asyncio.run(run()) == ("slow", "next")
    assert len(daemon.connections) == 1


def test_closing_fails_the_async_calls_under_way_and_does_not_reconnect(serve) -> None:
    came = threading.Event()

    def script(call: Call) -> Any:
        came.set()
        raise NoAnswerError

    daemon = serve(script)

    async def run() -> None:
        transport = AsyncUnixTransport(daemon.path)
        waiting = asyncio.ensure_future(transport.call(wire.WAIT_RUN, {}, timeout_s=None))
        assert await asyncio.to_thread(came.wait, 10)
        await transport.close()
        with pytest.raises(ConnectionLostError):
            await waiting
        await transport.close()

    asyncio.run(run())
    assert len(daemon.connections) == 1


def test_a_forked_process_leaves_its_parents_connections_alone_and_waits_for_no_thread_of_its() -> None:
    pool: Pool[Kept] = Pool()
    parents = Kept()
    pool.put_back(parents, pool.epoch)
    with pool._lock:  # as another thread of the parent's may have it at the fork
        child = os.fork()
        if child == 0:
            os._exit(0 if pool.take() is None else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert pool.take() is parents


def refused() -> None:
    raise errors.of_answer({"code": -7, "message": "m", "data": {"slug": "run_active"}})


def test_a_pool_of_processes_passes_errors_on() -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        with pytest.raises(ConflictError) as raised:
            pool.submit(refused).result(60)
        assert (raised.value.code, raised.value.slug) == (-7, "run_active")
