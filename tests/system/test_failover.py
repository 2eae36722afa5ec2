"""A standby takes over from a server that is gone, under daemons whose address names both."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from daemon_rig import by_test_postgres, say, until
from hosts_rig import Hosts, dispatch, ended, two_hosts
from standby_rig import Pair

from flowd_client.errors import CallError

pytestmark = [pytest.mark.timeout(300), by_test_postgres]

EVENTS = 60


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = Pair()
    try:
        yield made
    finally:
        made.remove()


@pytest.fixture
def hosts(pair: Pair) -> Iterator[Hosts]:
    with two_hosts(pair.url) as found:
        yield found


def test_what_was_acknowledged_is_kept_and_what_ran_goes_on_when_a_standby_takes_over(
    hosts: Hosts, pair: Pair, tmp_path: Path
) -> None:
    begun, go = tmp_path / "begun", tmp_path / "go"
    hosts.flow("work", f"echo $FLOWD_RUN_ID >> {begun}; {say('changed')}")
    hosts.flow("long", f"echo $FLOWD_RUN_ID >> {begun}; while [ ! -e {go} ]; do sleep 0.05; done; {say('changed')}")
    pair.confirm()
    hosts.start(FLOWD_MAX_PARALLEL="3")
    long = [dispatch(hosts["anna"], f"long-{number}", "long") for number in range(4)]
    until(lambda: begun.exists() and len(begun.read_text().split()) == 4, what="steps that go on")
    acknowledged: dict[str, str] = {}
    half = threading.Event()

    def send() -> None:
        places = list(hosts.places.values())
        for number in range(EVENTS):
            if number == EVENTS // 2:
                half.set()
            while True:
                try:
                    acknowledged[f"e{number}"] = dispatch(places[number % 2], f"e{number}", "work")
                    break
                except CallError as error:
                    if error.slug != "storage_busy":
                        raise

    sender = threading.Thread(target=send)
    sender.start()
    half.wait(60)
    pair.fail_over()
    sender.join()
    go.touch()
    assert len(acknowledged) == EVENTS
    for run_id in acknowledged.values():  # a claim whose answer was lost may have been given back, and counts
        assert ended(hosts["bert"], run_id)["effectiveStatus"] == "changed"
    for run_id in long:
        assert ended(hosts["bert"], run_id)["attemptCount"] == 1
    assert sorted(begun.read_text().split()) == sorted([*long, *acknowledged.values()])
    assert hosts["anna"].call("daemon.status")["events"] == EVENTS + 4
    hosts.stop()
