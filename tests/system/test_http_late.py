"""HTTP at an address that cannot be had when a service starts: the rest is served, and HTTP as soon as it can be."""

import socket
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from daemon_rig import Workspace, say, until, workspace
from http_rig import free_port


@pytest.fixture
def place() -> Iterator[Workspace]:
    with workspace() as made:
        made.flow("quick", say("changed"))
        yield made


def test_a_port_that_is_taken_at_the_start_is_served_when_it_is_free(place: Workspace) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", free_port()))
        other.listen()
        port = other.getsockname()[1]
        place.start(NOTIFY_SOCKET=str(place.path / "none"), FLOWD_HTTP=f"127.0.0.1:{port}")
        (trouble,) = place.call("daemon.status")["troubles"]
        assert (trouble["what"], f":{port}: Address already in use" in trouble["problem"]) == ("http", True)
        with place.client() as client:
            assert (
                client.dispatch_event({"id": "e", "type": "quick.go"}, wait=True).runs[0].effective_status == "changed"
            )
    until(lambda: "http" in place.call("daemon.status"), what="HTTP")
    assert "troubles" not in place.call("daemon.status")
    with pytest.raises(urllib.error.HTTPError, match="401"):  # which is an answer, to one without a token
        urllib.request.urlopen(f"http://127.0.0.1:{port}/runs", timeout=10)
    assert '"event": "HTTP is served"' in place.log()
    assert place.stop() == 0


def test_an_address_that_the_machine_has_not_yet_is_told_and_stops_nobody(place: Workspace) -> None:
    place.start(
        NOTIFY_SOCKET=str(place.path / "none"), FLOWD_HTTP="192.0.2.7:7345", FLOWD_HTTP_SECRET="correct-horse-battery"
    )
    (trouble,) = place.call("daemon.status")["troubles"]
    assert "Cannot assign requested address" in trouble["problem"]
    assert place.stop() == 0


def test_whoever_starts_flowd_by_hand_is_told_at_once(place: Workspace) -> None:
    with pytest.raises(AssertionError, match="Cannot listen on http://"):
        place.start(FLOWD_HTTP="192.0.2.7:7345", FLOWD_HTTP_SECRET="correct-horse-battery")
    assert place.process is not None
    assert place.process.returncode == 78
