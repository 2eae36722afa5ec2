"""Hosts that share a store share the outbox: each notice goes out once, by a host that has its notifier."""

import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import postgres_rig
import pytest
from daemon_rig import Workspace, until
from hosts_rig import Hosts, dispatch, ended, two_hosts

TELL = "#!/bin/sh\ncat >> told; echo >> told\n"
HANG = f"{TELL}test -e go || sleep 600\n"


@pytest.fixture
def address(tmp_path: Path) -> str:
    return postgres_rig.DATABASE.address(tmp_path)


@pytest.fixture
def hosts(address: str) -> Iterator[Hosts]:
    """Two hosts that are not started yet."""
    with two_hosts(address) as found:
        yield found


def notify(place: Workspace, script: str = TELL) -> None:
    (place.path / "tell").write_text(script)
    (place.path / "tell").chmod(0o755)
    (place.path / ".codex").mkdir(exist_ok=True)
    (place.path / ".codex/flowd.toml").write_text('[[notify]]\nname = "mail"\ncommand = ["./tell"]\n')


def told(place: Workspace) -> list[dict[str, Any]]:
    file = place.path / "told"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def states(place: Workspace) -> list[str]:
    return [notice["state"] for notice in place.call("flow.notices", limit=500)["notices"]]


def test_what_fails_on_one_host_is_told_by_another_that_has_the_notifier(hosts: Hosts) -> None:
    hosts.flow("build", "exit 1", on="anna")
    notify(hosts["bert"])
    hosts.start("bert")
    hosts.start("anna")
    numbers = count()

    def fails() -> list[dict[str, Any]]:
        # anna hears of bert's notifiers within some seconds; what fails before that is told by nobody.
        ended(hosts["anna"], dispatch(hosts["anna"], f"e{next(numbers)}", "build"))
        return told(hosts["bert"])

    first = until(fails, what="a notice")[0]
    assert (first["host"], first["flow"]) == ("anna", "build")
    until(lambda: set(states(hosts["bert"])) == {"sent"}, what="the others")
    ids = [notice["id"] for notice in told(hosts["bert"])]
    assert len(ids) == len(set(ids)) == len(states(hosts["anna"]))
    hosts.stop()


def test_a_notice_for_a_notifier_that_both_have_goes_out_once(hosts: Hosts) -> None:
    hosts.flow("build", "exit 1")
    for place in hosts.places.values():
        notify(place)
    hosts.start()
    for number in range(5):
        ended(hosts["anna"], dispatch(hosts["anna"], f"e{number}", "build"))
    until(lambda: states(hosts["anna"]) == ["sent"] * 5, what="the notices")
    events = [notice["eventId"] for place in hosts.places.values() for notice in told(place)]
    assert sorted(events) == [f"e{number}" for number in range(5)]
    hosts.stop()


def test_another_host_takes_over_from_one_that_is_gone(hosts: Hosts, address: str) -> None:
    hosts.flow("build", "exit 1", on="anna")
    notify(hosts["anna"], HANG)
    hosts.start("anna")
    ended(hosts["anna"], dispatch(hosts["anna"], "e1", "build"))
    first = until(lambda: told(hosts["anna"]), what="the first try")[0]
    hosts["anna"].kill()
    notify(hosts["bert"])
    hosts.start("bert")
    with postgres_rig.writing(address) as db:  # what would take two minutes
        db.execute("UPDATE notices SET held_until_ms = 1")
    until(lambda: states(hosts["bert"]) == ["sent"], what="the second try")
    assert [notice["id"] for notice in told(hosts["bert"])] == [first["id"]]
