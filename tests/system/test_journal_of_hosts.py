"""One journal for all hosts of a store: whoever reads it may go on at another host, without a gap."""

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import postgres_rig
import pytest
from daemon_rig import Workspace, say
from hosts_rig import Hosts, dispatch, two_hosts

from flowd_client.wire import OLDEST

EVENTS_EACH = 40


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    """Anna and Bert, started, each with a package of its own."""
    with two_hosts(postgres_rig.DATABASE.address(tmp_path)) as found:
        for name in found.places:
            found.flow(f"work-{name}", say("changed"), on=name)
        found.start()
        yield found


def number(cursor: str | None) -> int:
    assert cursor is not None
    return int(cursor.removeprefix("j"))


def told(place: Workspace, after: str, count: int) -> list[str]:
    """The cursors of the next updates behind one."""
    found: list[str] = []
    with place.client() as client, client.subscribe(["event", "run", "flow"], after=after) as updates:
        for update in updates:
            assert update.cursor is not None
            found.append(update.cursor)
            if len(found) == count:
                break
    return found


def test_a_reader_changes_hosts_again_and_again_while_both_write_and_misses_nothing(hosts: Hosts) -> None:
    runs: list[str] = []

    def write(name: str) -> None:
        runs.extend(dispatch(hosts[name], f"{name}-{one}", f"work-{name}") for one in range(EVENTS_EACH))

    writers = [threading.Thread(target=write, args=(name,)) for name in hosts.places]
    for writer in writers:
        writer.start()
    cursors = [OLDEST]
    while len(cursors) < 2 * EVENTS_EACH * 4:  # an event is accepted, its run is queued, begins and ends
        for place in hosts.places.values():
            cursors += told(place, cursors[-1], 7)
    for writer in writers:
        writer.join()
    assert len(runs) == 2 * EVENTS_EACH
    numbers = [number(cursor) for cursor in cursors[1:]]
    assert numbers == list(range(1, len(numbers) + 1))
    hosts.stop()


def test_who_follows_on_one_host_hears_what_runs_on_another_do_in_their_order(hosts: Hosts) -> None:
    with hosts["anna"].client() as client, client.subscribe(["event", "run"]) as updates:
        for number_, name in enumerate(("bert", "anna", "bert")):
            run_id = dispatch(hosts[name], f"e{number_}", f"work-{name}")
            heard = [next(updates) for _ in range(4)]
            assert [update.kind for update in heard] == ["event", "run", "run", "run"]
            said = [update.run for update in heard[1:]]
            assert [run.id for run in said if run is not None] == [run_id] * 3
            assert [update.status for update in heard[1:]] == ["queued", "running", "completed"]
    hosts.stop()


def test_each_host_tells_of_its_own_packages_and_of_no_others(hosts: Hosts) -> None:
    with hosts["anna"].client() as client, client.subscribe(["flow"], after=OLDEST) as updates:
        found = {(update.host, update.flow_name, update.status) for update in (next(updates), next(updates))}
        assert found == {("anna", "work-anna", "ok"), ("bert", "work-bert", "ok")}
        hosts.flow("both", say("changed"))
        found = {(update.host, update.flow_name, update.status) for update in (next(updates), next(updates))}
        assert found == {("anna", "both", "ok"), ("bert", "both", "ok")}
        assert hosts["bert"].stop() == 0
        hosts.start("bert")  # and it tells nothing again
        shutil.rmtree(hosts["bert"].path / "flows" / "both")
        update = next(updates)
        assert (update.host, update.flow_name, update.status) == ("bert", "both", "removed")
    hosts.stop()
