"""What the checkouts of hosts have, as each host tells it: their commits, and the packages that differ."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import postgres_rig
import pytest
from daemon_rig import Workspace, about_the_file, flowd_says, say, until, workspace
from hosts_rig import Hosts, two_hosts


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    """Two hosts that are not started yet."""
    with two_hosts(postgres_rig.DATABASE.address(tmp_path)) as made:
        yield made


def check_out(place: Workspace, commit: str) -> None:
    """Let a workspace be a work tree of git's that is at a commit."""
    (place.path / ".git").mkdir(exist_ok=True)
    (place.path / ".git" / "HEAD").write_text(f"{commit}\n")


def listed(place: Workspace) -> dict[str, Any]:
    found: dict[str, Any] = place.call("host.list")
    return found


def test_commits_are_told_and_packages_that_differ_between_live_hosts(hosts: Hosts) -> None:
    hosts.flow("same", say("changed"))
    hosts.flow("other", say("changed"))
    hosts.flow("alone", say("changed"), on="bert")
    anna, bert = hosts["anna"], hosts["bert"]
    check_out(anna, "a" * 40)
    (bert.path / "flows" / "other" / "lib.txt").write_text("no step names it\n")
    hosts.start()
    until(lambda: len(listed(anna)["packages"]) == 1, what="both to have told what they have")
    (package,) = listed(bert)["packages"]
    assert (package["name"], sorted(package["hashes"])) == ("other", ["anna", "bert"])
    assert len(set(package["hashes"].values())) == 2
    assert [host.get("commit") for host in listed(bert)["hosts"]] == ["a" * 40, None]
    told = flowd_says(anna, "hosts")
    assert "a" * 12 in told
    assert told.splitlines()[-1].startswith("differs other: ")
    assert "differs other: " in flowd_says(bert, "validate", "--hosts", code=1)
    assert "differs" not in flowd_says(bert, "validate", str(bert.path / "flows" / "same"), "--hosts")
    assert list(json.loads(flowd_says(bert, "validate", "--hosts", "--json", code=1))["hosts"]) == ["other"]
    # What has ended is compared with nobody.
    assert bert.stop() == 0
    assert listed(anna)["packages"] == []
    assert flowd_says(anna, "validate", "--hosts").splitlines()[-1].startswith("ok same")
    check_out(anna, "b" * 40)
    (bert.path / "flows" / "other" / "lib.txt").unlink()
    manifest = anna.path / "flows" / "other" / "flow.toml"
    manifest.write_text(f"{manifest.read_text()}# edited\n")
    hosts.start("bert")
    until(lambda: listed(bert)["packages"] != [], what="bert to have told what it has")
    until(lambda: listed(bert)["hosts"][0]["commit"] == "b" * 40, what="anna to have looked at its commit again")
    hosts.stop()


@about_the_file
def test_a_host_without_others_has_nobody_to_compare_its_packages_with() -> None:
    with workspace() as place:
        place.flow("work", say("changed"))
        check_out(place, "c" * 40)
        assert "No daemon" in flowd_says(place, "validate", "--hosts", code=3)
        place.start()
        found = listed(place)
        assert ([host["commit"] for host in found["hosts"]], "packages" in found) == (["c" * 40], False)
        assert "There are no hosts to compare" in flowd_says(place, "validate", "--hosts", code=5)
        assert "differs" not in flowd_says(place, "hosts")
        assert place.stop() == 0
