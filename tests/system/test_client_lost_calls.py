"""A daemon that is killed under a call: what was stored is never told as not sent."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from client_rig import KINDS, Kind, opened, options_of
from daemon_rig import Workspace, say, until, workspace
from http_rig import free_port

from flowd_client import ConnectionLostError, DaemonNotRunningError, FlowClientError

PATIENCE_S = 1.0
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


def event_of(kind: Kind) -> dict[str, str]:
    """Each client's own."""
    return {"id": str(kind), "type": "slow.go"}


def failures_of(calls: dict[Kind, Callable[[], Any]], *, meanwhile: Callable[[], None]) -> dict[Kind, FlowClientError]:
    """What each call that fails raises, in threads of their own, while something happens here."""
    raised: dict[Kind, FlowClientError] = {}

    def run(kind: Kind, call: Callable[[], Any]) -> None:
        try:
            call()
        except FlowClientError as error:
            raised[kind] = error

    threads = [threading.Thread(target=run, args=each, daemon=True) for each in calls.items()]
    for thread in threads:
        thread.start()
    meanwhile()
    for thread in threads:
        thread.join(40)
        assert not thread.is_alive(), "a call goes on"
    return raised


@contextlib.contextmanager
def clients(place: Workspace) -> Iterator[dict[Kind, Any]]:
    """One of each kind; they do not wait long for a daemon that has gone."""
    with contextlib.ExitStack() as stack:
        yield {
            kind: stack.enter_context(opened(kind, options_of(kind, place), timeout_s=PATIENCE_S)) for kind in REMOTE
        }


def dispatching(flows: dict[Kind, Any]) -> dict[Kind, Callable[[], Any]]:
    """Calls that hand in an event each, and wait for its run."""
    return {
        kind: lambda kind=kind, client=client: client.dispatch_event(event_of(kind), wait=True)
        for kind, client in flows.items()
    }


def kill_for_good(place: Workspace) -> None:
    """``kill -9``, with no socket to connect to from the first moment on.

    Without that, a retry may still get into the queue of a listener that the kernel is about to close.
    """
    place.socket.rename(place.socket.with_name("was.sock"))
    place.kill()


def test_a_stored_dispatch_whose_daemon_is_killed_is_a_lost_call_and_safe_to_repeat(slow: Workspace) -> None:
    def kill() -> None:
        until(lambda: len(runs(slow)) == len(REMOTE), what="the events' runs")
        kill_for_good(slow)

    with clients(slow) as flows:
        failures = failures_of(dispatching(flows), meanwhile=kill)
        assert set(failures) == set(REMOTE)
        for kind, error in failures.items():
            assert isinstance(error, ConnectionLostError), kind
            assert isinstance(error.__cause__, DaemonNotRunningError), kind
            assert "flow.dispatch" in error.message, kind
            assert "again with the same id" in error.message, kind
            with pytest.raises(DaemonNotRunningError):  # this one never left
                flows[kind].dispatch_event({**event_of(kind), "id": f"another {kind}"})
    slow.start()
    with slow.client() as client:
        assert all(client.dispatch_event(event_of(kind)).is_duplicate for kind in REMOTE)
        assert {event.id for event in client.list_events()} == {str(kind) for kind in REMOTE}


def test_waits_outlive_a_daemon_that_is_killed_and_comes_back() -> None:
    port = free_port()
    with workspace() as place:
        folder = place.flow("slow", f"while [ ! -e go ]; do sleep 0.02; done; {say('changed')}")
        place.start(FLOWD_HTTP=f"127.0.0.1:{port}")
        options = {kind: options_of(kind, place) for kind in REMOTE}
        dispatched: dict[Kind, Any] = {}
        waited: dict[Kind, Any] = {}

        def restart_twice() -> None:
            until(lambda: len(runs(place)) == len(REMOTE), what="the events' runs")
            for _ in range(2):
                kill_for_good(place)
                place.start(FLOWD_HTTP=f"127.0.0.1:{port}")
            (folder / "go").touch()

        def dispatch(kind: Kind) -> None:
            with opened(kind, options[kind]) as client:
                dispatched[kind] = client.dispatch_event(event_of(kind), wait=True)

        def find(client: Any, kind: Kind) -> str:
            while True:
                # A list that was lost is asked for again for a moment only, and not for a whole restart.
                with contextlib.suppress(DaemonNotRunningError, ConnectionLostError):
                    (run,) = until(lambda: client.list_runs(event_id=str(kind)), what="the run").items
                    return str(run.id)

        def wait(kind: Kind) -> None:
            with opened(kind, options[kind]) as client:
                while kind not in waited:
                    run_id = find(client, kind)
                    # What was never sent, because it came while no daemon ran, fails at once: that is not asked here.
                    with contextlib.suppress(DaemonNotRunningError):
                        waited[kind] = client.wait_run(run_id)

        waiting = [threading.Thread(target=wait, args=(kind,), daemon=True) for kind in REMOTE]
        for thread in waiting:
            thread.start()
        calls = {kind: lambda kind=kind: dispatch(kind) for kind in REMOTE}
        assert failures_of(calls, meanwhile=restart_twice) == {}
        for thread in waiting:
            thread.join(40)
    for kind in REMOTE:
        assert (waited[kind].status, dispatched[kind].runs[0].status) == ("changed", "changed"), kind
        assert dispatched[kind].run_ids == (waited[kind].id,), kind


def test_a_replay_whose_daemon_is_killed_is_a_lost_call(slow: Workspace) -> None:
    for kind in REMOTE:
        slow.call("flow.dispatch", event=event_of(kind))

    def kill() -> None:
        until(lambda: len(runs(slow)) == 2 * len(REMOTE), what="the replays' runs")
        kill_for_good(slow)

    with clients(slow) as flows:
        calls = {
            kind: lambda kind=kind, client=client: client.replay_event(str(kind), wait=True)
            for kind, client in flows.items()
        }
        failures = failures_of(calls, meanwhile=kill)
    assert set(failures) == set(REMOTE)
    for kind, error in failures.items():
        assert isinstance(error, ConnectionLostError), kind
        assert "look before asking again" in error.message, kind


def test_a_wait_whose_daemon_stops_and_leaves_its_step_to_the_next_is_a_lost_call(slow: Workspace) -> None:
    assert slow.stop() == 0
    slow.start(FLOWD_HTTP="127.0.0.1:0", FLOWD_ON_STOP="keep")

    def stop() -> None:
        until(lambda: len(runs(slow)) == len(REMOTE), what="the events' runs")
        assert slow.stop() == 0

    with clients(slow) as flows:
        failures = failures_of(dispatching(flows), meanwhile=stop)
    assert set(failures) == set(REMOTE)
    assert all(isinstance(error, ConnectionLostError) for error in failures.values())
    slow.start(FLOWD_ON_STOP="cancel")
