"""Hosts that share a store: daemons, each with packages and a state folder of its own, and one PostgreSQL."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from daemon_rig import Workspace, workspace


class Hosts:
    """Some hosts of one store."""

    def __init__(self, address: str, **places: Workspace) -> None:
        self.address = address
        self.places = places

    def __getitem__(self, name: str) -> Workspace:
        return self.places[name]

    def start(self, *names: str, **environment: str) -> None:
        """Start some; without names all."""
        for name in names or self.places:
            self[name].start(FLOWD_STORE=self.address, FLOWD_HOST=name, **environment)

    def flow(self, name: str, script: str, *, on: str = "", **options: Any) -> None:
        """The same package everywhere, or on one host alone."""
        for host, place in self.places.items():
            if on in ("", host):
                place.flow(name, script, **options)

    def stop(self) -> None:
        """Stop all; each ends well."""
        for place in self.places.values():
            if place.process is not None and place.process.poll() is None:
                assert place.stop() == 0


@contextmanager
def two_hosts(address: str) -> Iterator[Hosts]:
    """Two hosts of the store at an address, which are not started yet."""
    with workspace() as anna, workspace() as bert:
        yield Hosts(address, anna=anna, bert=bert)


def known_within_s(place: Workspace) -> float:
    """How long a daemon that has just started may not know which hosts can run what; alone, it always does."""
    return 0.0 if place.store is None else 30.0


def dispatch(place: Workspace, event_id: str, flow: str) -> str:
    (run_id,) = place.call("flow.dispatch", event={"id": event_id, "type": f"{flow}.go", "payload": {}})["runIds"]
    return str(run_id)


def run_of(place: Workspace, run_id: str) -> dict[str, Any]:
    found: dict[str, Any] = place.call("flow.getRun", runId=run_id)["run"]
    return found


def ended(place: Workspace, run_id: str) -> dict[str, Any]:
    found: dict[str, Any] = place.call("flow.waitRun", runId=run_id, timeoutMs=50_000)["run"]
    assert found["status"] not in ("queued", "running"), found
    return found
