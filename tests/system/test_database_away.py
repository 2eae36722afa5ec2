"""A daemon whose store is a PostgreSQL database, while the server is away."""

from collections.abc import Iterator

import postgres_rig
import pytest
from daemon_rig import Workspace, say, until

from flowd_client.errors import CallError

pytestmark = pytest.mark.timeout(300)

STEP = f"echo begun >> begun; while [ ! -e go ]; do sleep 0.05; done; {say('changed')}"


@pytest.fixture
def server() -> Iterator[postgres_rig.Server]:
    made = postgres_rig.Server(postgres_rig.programs())
    try:
        yield made
    finally:
        made.remove()


def begin(place: Workspace, server: postgres_rig.Server) -> str:
    """Start a daemon on a database of the server, and a step that goes on until there is a file ``go``."""
    place.store = server.make_database("away")
    folder = place.flow("long", STEP)
    place.start()
    (run_id,) = place.call("flow.dispatch", event={"id": "long", "type": "long.go"})["runIds"]
    until((folder / "begun").exists, what="the step")
    return str(run_id)


def end_step(place: Workspace) -> None:
    """Let the step end, and wait until it has."""
    folder = place.path / "flows/long"
    (folder / "go").touch()
    until(lambda: not place.processes(str(folder / "main.sh")), what="the end of the step")


def assert_nothing_was_lost_or_doubled(place: Workspace, run_id: str) -> None:
    run = until(
        lambda: (found := place.call("flow.getRun", runId=run_id)["run"])["status"] == "completed" and found,
        bound_s=60,
        what="the recorded end",
    )
    assert run["result"]["status"] == "changed"
    assert (run["attemptCount"], (place.path / "flows/long/begun").read_text()) == (1, "begun\n")


def test_without_the_database_steps_run_on_and_what_comes_is_refused_until_it_is_back(
    place: Workspace, server: postgres_rig.Server
) -> None:
    run_id = begin(place, server)
    server.stop("immediate")
    with place.client() as client:
        with pytest.raises(CallError, match="sending it again is safe"):
            client.call("flow.dispatch", {"event": {"id": "e", "type": "none"}})
        with pytest.raises(CallError, match="cannot be read now"):
            client.call("flow.listRuns", {})
    end_step(place)
    assert place.process is not None
    assert place.process.poll() is None
    server.start()
    assert_nothing_was_lost_or_doubled(place, run_id)
    assert place.call("flow.dispatch", event={"id": "e", "type": "none"})["status"] == "accepted"
    status = place.call("daemon.status", metrics=True)
    assert status["events"] == 2
    told = {name: figures[0]["value"] for name, figures in status["metrics"].items()}
    assert told["flowd_store_reconnects_total"] >= 1
    assert told["flowd_lease_age_seconds"] >= 0


def test_what_ended_while_daemon_and_database_were_away_is_recorded_by_the_next_daemon(
    place: Workspace, server: postgres_rig.Server
) -> None:
    run_id = begin(place, server)
    server.stop("immediate")
    place.kill()
    end_step(place)
    server.start()
    place.start()
    assert_nothing_was_lost_or_doubled(place, run_id)
