"""A client in a forked child, in a second event loop, and where no loop runs: its own answers, or a sentence."""

import asyncio
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest
from client_rig import KINDS, Kind, opened, options_of
from daemon_rig import Workspace, say, workspace

from flowd_client import FlowClientError, UnavailableModeError, create_async_flow_client, create_flow_client

BLOCKING = [kind for kind in KINDS if not kind.is_async]
ASYNC = [kind for kind in KINDS if kind.is_async]
CHILD_S = 30

_numbers = count(1)


@pytest.fixture(scope="module")
def served() -> Iterator[Workspace]:
    with workspace() as place:
        place.flow("hello", say("changed"))
        place.start(FLOWD_HTTP="127.0.0.1:0")
        yield place


@pytest.fixture(scope="module")
def unserved() -> Iterator[Workspace]:
    with workspace() as place:
        place.flow("hello", say("changed"))
        yield place


def place_of(request: pytest.FixtureRequest, kind: Kind) -> Workspace:
    found: Workspace = request.getfixturevalue("unserved" if kind.mode == "local" else "served")
    return found


def in_child(work: Callable[[], object]) -> object:
    """What a function gives in a forked child, or the sentence of the error that it raises."""
    ours, theirs = multiprocessing.Pipe()
    pid = os.fork()
    if pid == 0:
        try:
            try:
                theirs.send(work())
            except FlowClientError as error:
                theirs.send(error)
        finally:
            os._exit(0)
    theirs.close()
    try:
        assert ours.poll(CHILD_S), "the child hangs"
        return ours.recv()
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)


def dispatched(client: Any, name: str) -> str:
    answer = client.dispatch_event({"id": f"{name}-{next(_numbers)}", "type": "hello.go"}, wait=True)
    return str(answer.event_id)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_parent_and_child_read_their_own_answers(request: pytest.FixtureRequest, kind: Kind) -> None:
    options = options_of(kind, place_of(request, kind))
    if kind.mode == "local":
        options["state"] = "file"
    if kind.is_async:
        client = create_async_flow_client(kind.mode, **options)  # type: ignore[call-overload]

        async def use(*names: str) -> list[str]:
            async with asyncio.timeout(CHILD_S):
                return [(await client.explain({"id": name, "type": "hello.go"})).event_id or "" for name in names]

        async def close() -> None:
            await client.close()

        assert asyncio.run(use("before")) == ["before"]
        assert in_child(lambda: asyncio.run(use("c1", "c2"))) == ["c1", "c2"]
        assert asyncio.run(use("p1", "p2")) == ["p1", "p2"]
        asyncio.run(close())
        return
    with opened(kind, options) as client:
        ask = lambda *names: [client.explain({"id": name, "type": "hello.go"}).event_id for name in names]  # noqa: E731
        assert ask("before") == ["before"]
        assert in_child(lambda: (ask("c1", "c2"), client.close())[0]) == ["c1", "c2"]
        assert ask("p1", "p2") == ["p1", "p2"]


@pytest.mark.parametrize("kind", BLOCKING, ids=str)
def test_a_fork_while_other_threads_use_the_client_leaves_a_child_that_works(
    request: pytest.FixtureRequest, kind: Kind
) -> None:
    options = options_of(kind, place_of(request, kind))
    if kind.mode == "local":
        options["state"] = "file"
    with opened(kind, options) as client:
        is_over = threading.Event()

        def work() -> None:
            while not is_over.is_set():
                client.explain({"id": "x", "type": "hello.go"})

        workers = [threading.Thread(target=work, daemon=True) for _ in range(3)]
        for worker in workers:
            worker.start()
        try:
            for number in range(5):
                name = f"child-{number}"
                found = in_child(lambda name=name: client.explain({"id": name, "type": "hello.go"}).event_id)
                assert found == name
        finally:
            is_over.set()
            for worker in workers:
                worker.join(60)


def test_a_child_hears_nothing_of_its_parents_subscription_and_leaves_it_alone(served: Workspace) -> None:
    with create_flow_client(workspace=served.path) as client, client.subscribe(["event"]) as updates:
        assert in_child(updates.close) is None
        name = dispatched(client, "heard")
        update = next(updates)
        assert update.event is not None
        assert update.event.id == name


def test_memory_of_the_parent_is_refused_in_a_child_with_a_sentence(unserved: Workspace) -> None:
    with create_flow_client("local", workspace=unserved.path) as client:
        name = dispatched(client, "remembered")
        refused = in_child(lambda: client.get_event(name))
        assert isinstance(refused, UnavailableModeError)
        assert "fork" in refused.message
        assert in_child(client.close) is None
        assert client.get_event(name).id == name
    unused = create_flow_client("local", workspace=unserved.path)
    assert (
        in_child(lambda: unused.dispatch_event({"id": "e", "type": "hello.go"}, wait=True).runs[0].status) == "changed"
    )


@pytest.mark.parametrize("kind", ASYNC, ids=str)
def test_an_async_client_goes_on_in_a_second_event_loop(request: pytest.FixtureRequest, kind: Kind) -> None:
    client = create_async_flow_client(kind.mode, **options_of(kind, place_of(request, kind)))  # type: ignore[call-overload]

    async def ask(name: str) -> str | None:
        answers = await asyncio.gather(*(client.explain({"id": name, "type": "hello.go"}) for _ in range(3)))
        return answers[0].event_id

    for name in ("first", "second"):
        assert asyncio.run(ask(name)) == name
    loop = asyncio.new_event_loop()  # one that is not ended, only left
    assert loop.run_until_complete(ask("third")) == "third"
    assert asyncio.run(ask("fourth")) == "fourth"
    assert loop.run_until_complete(ask("fifth")) == "fifth"
    loop.run_until_complete(client.close())
    loop.close()


@pytest.mark.parametrize("kind", ASYNC, ids=str)
def test_a_subscription_goes_on_in_a_second_event_loop(request: pytest.FixtureRequest, kind: Kind) -> None:
    place = place_of(request, kind)
    client = create_async_flow_client(kind.mode, **options_of(kind, place))  # type: ignore[call-overload]
    updates = client.subscribe(["event"])

    async def hear(name: str) -> str:
        if updates.cursor is None:
            await updates.__aenter__()
        await client.dispatch_event({"id": name, "type": "none"})
        async with asyncio.timeout(CHILD_S):
            return (await anext(updates)).event.id

    assert [asyncio.run(hear(name)) for name in (f"{kind}-1", f"{kind}-2")] == [f"{kind}-1", f"{kind}-2"]

    async def close() -> None:
        await updates.close()
        await client.close()

    asyncio.run(close())


@pytest.mark.parametrize("kind", ASYNC, ids=str)
def test_without_asyncio_an_async_client_says_what_to_do(request: pytest.FixtureRequest, kind: Kind) -> None:
    client = create_async_flow_client(kind.mode, **options_of(kind, place_of(request, kind)))  # type: ignore[call-overload]
    # trio and others run coroutines without an event loop of asyncio: as `send` does.
    for call in (client.status(), client.wait_run("r"), anext(client.subscribe()), anext(client.follow_output("r"))):
        with pytest.raises(UnavailableModeError, match=r"asyncio.*in a thread"):
            call.__await__().send(None)
    with pytest.raises(StopIteration):
        client.close().__await__().send(None)
