"""Migrations are frozen: what was rewritten under its number would leave states that no flowd can open."""

import hashlib
from importlib.resources import files

import pytest

SQLITE = {
    "0001_initial.sql": "fae9bc8f7afbe6df",
    "0002_one_queue.sql": "65122d7782dd2f37",
    "0003_about.sql": "cfe68c78a684cc4d",
    "0004_left_out.sql": "b6519f40f444839b",
    "0005_stream_order.sql": "0575f5287ed4a725",
    "0006_rounds_and_needs.sql": "d53f662a1392f7ed",
    "0007_trees.sql": "e0eb6f80f90b28c8",
    "0008_people_and_pauses.sql": "7f99fbc32ab6e962",
    "0009_keys.sql": "1e415f9682c1a8b2",
    "0010_called_off.sql": "635406b19f8bafcd",
    "0011_labels_and_filters.sql": "86ed46417c5a79f3",
    "0012_progress_and_traces.sql": "1c146a5c68d91805",
    "0013_host.sql": "7f2155014638c517",
    "0014_flows_of_hosts.sql": "74cce28e4f4c050a",
    "0015_runs_of_host.sql": "bc95d3928802f45c",
    "0016_bound_to.sql": "deb4ce0e337802d9",
    "0017_notices.sql": "9a99dc674722e6b8",
    "0018_times.sql": "6735a0d1a30666d5",
    "0019_schedules.sql": "3483d1d394d09715",
}
"""A change of a schema is a new file with a new line here; a line that is here stays as it is."""

POSTGRES = {
    "0001_initial.sql": "0c02653eeff467ed",
    "0002_hosts.sql": "affcf92238853e5d",
    "0003_packages.sql": "87ea4d877bfcfa9e",
    "0004_notices.sql": "ec2bb01d3e752eff",
    "0005_times.sql": "52e0770f974ff5db",
    "0006_schedules.sql": "45b7e8c3b64caec4",
}
"""The same."""


@pytest.mark.parametrize(("store", "frozen"), [("sqlite", SQLITE), ("postgres", POSTGRES)])
def test_no_migration_was_changed_after_it_was_written(store: str, frozen: dict[str, str]) -> None:
    folder = files("flowd.store") / store / "migrations"
    found = {
        entry.name: hashlib.sha256(entry.read_bytes()).hexdigest()[:16]
        for entry in folder.iterdir()
        if entry.name.endswith(".sql")
    }
    assert found == frozen


@pytest.mark.parametrize("frozen", [SQLITE, POSTGRES])
def test_migrations_are_numbered_without_a_gap(frozen: dict[str, str]) -> None:
    assert [int(name[:4]) for name in sorted(frozen)] == list(range(1, len(frozen) + 1))
