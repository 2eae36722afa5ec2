"""A daemon that is killed under a call: what was stored is never told as not sent."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from client_rig import KINDS, Kind, opened, options_of
from daemon_rig import Workspace, say, until, workspace

from flowd_client import ConnectionLostError, DaemonNotRunningError, FlowClientError

EVENT = {"id": "e", "type": "slow.go"}
PATIENCE_S = 3.0
"""Of clients whose daemon does not come back."""

REMOTE = [kind for kind in KINDS if kind.mode != "local"]


@pytest.fixture
def slow() -> Iterator[Workspace]:
    """A daemon whose one step does not end by itself."""
    with workspace() as place:
        place.flow("slow", "exec sleep 60")
        place.start(FLOWD_HTTP="127.0.0.1:0")
        yield place


def runs(place: Workspace) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = place.call("flow.listRuns")["runs"]
    return found


def failure_of(call: Callable[[], Any], *, meanwhile: Callable[[], None]) -> FlowClientError | None:
    """What a call raises in a thread of its own while something happens here."""
    raised: list[FlowClientError] = []

    def run() -> None:
        try:
            call()
        except FlowClientError as error:
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    meanwhile()
    thread.join(20)
    assert not thread.is_alive(), "the call goes on"
    return raised[0] if raised else None


def kill_for_good(place: Workspace) -> None:
    """``kill -9``, with no socket to connect to from the first moment on.

    Without that, a retry may still get into the queue of a listener that the kernel is about to close.
    """
    place.socket.rename(place.socket.with_name("was.sock"))
    place.kill()


@pytest.mark.parametrize("kind", REMOTE, ids=str)
def test_a_stored_dispatch_whose_daemon_is_killed_is_a_lost_call_and_safe_to_repeat(
    slow: Workspace, kind: Kind
) -> None:
    def kill() -> None:
        until(lambda: runs(slow), what="the event's run")
        kill_for_good(slow)

    with opened(kind, options_of(kind, slow), timeout_s=PATIENCE_S) as client:
        error = failure_of(lambda: client.dispatch_event(EVENT, wait=True), meanwhile=kill)
        assert isinstance(error, ConnectionLostError)
        assert isinstance(error.__cause__, DaemonNotRunningError)
        assert "flow.dispatch" in error.message
        assert "again with the same id" in error.message
        with pytest.raises(DaemonNotRunningError):  # this one never left
            client.dispatch_event({**EVENT, "id": "another"})
    slow.start()
    with slow.client() as client:
        assert client.dispatch_event(EVENT).is_duplicate
        assert [event.id for event in client.list_events()] == ["e"]


@pytest.mark.parametrize("kind", REMOTE, ids=str)
def test_waits_outlive_a_daemon_that_is_killed_and_comes_back(kind: Kind) -> None:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    with workspace() as place:
        folder = place.flow("slow", f"while [ ! -e go ]; do sleep 0.02; done; {say('changed')}")
        place.start(FLOWD_HTTP=f"127.0.0.1:{port}")
        views: dict[str, Any] = {}

        def restart_twice() -> None:
            until(lambda: runs(place), what="the event's run")
            for _ in range(2):
                kill_for_good(place)
                place.start(FLOWD_HTTP=f"127.0.0.1:{port}")
            (folder / "go").touch()

        def dispatch() -> None:
            with opened(kind, options_of(kind, place)) as client:
                views["dispatch"] = client.dispatch_event(EVENT, wait=True)

        def wait() -> None:
            with opened(kind, options) as client:
                while "wait" not in views:
                    # What was never sent, because it came while no daemon ran, fails at once: that is not asked here.
                    with contextlib.suppress(DaemonNotRunningError):
                        (run,) = until(client.list_runs, what="the run").items
                        views["wait"] = client.wait_run(run.id)

        options = options_of(kind, place)
        waiting = threading.Thread(target=wait, daemon=True)
        waiting.start()
        assert failure_of(dispatch, meanwhile=restart_twice) is None
        waiting.join(40)
    assert (views["wait"].status, views["dispatch"].runs[0].status) == ("changed", "changed")
    assert views["dispatch"].run_ids == (views["wait"].id,)


@pytest.mark.parametrize("kind", REMOTE, ids=str)
def test_a_replay_whose_daemon_is_killed_is_a_lost_call(slow: Workspace, kind: Kind) -> None:
    slow.call("flow.dispatch", event=EVENT)

    def kill() -> None:
        until(lambda: len(runs(slow)) == 2, what="the replay's run")
        kill_for_good(slow)

    with opened(kind, options_of(kind, slow), timeout_s=PATIENCE_S) as client:
        error = failure_of(lambda: client.replay_event("e", wait=True), meanwhile=kill)
        assert isinstance(error, ConnectionLostError)
        assert "look before asking again" in error.message


@pytest.mark.parametrize("kind", REMOTE, ids=str)
def test_a_wait_whose_daemon_stops_and_leaves_its_step_to_the_next_is_a_lost_call(slow: Workspace, kind: Kind) -> None:
    assert slow.stop() == 0
    slow.start(FLOWD_HTTP="127.0.0.1:0", FLOWD_ON_STOP="keep")

    def stop() -> None:
        until(lambda: runs(slow), what="the event's run")
        assert slow.stop() == 0

    with opened(kind, options_of(kind, slow), timeout_s=PATIENCE_S) as client:
        error = failure_of(lambda: client.dispatch_event(EVENT, wait=True), meanwhile=stop)
    assert isinstance(error, ConnectionLostError)
    slow.start(FLOWD_ON_STOP="cancel")
