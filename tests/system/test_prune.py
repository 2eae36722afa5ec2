"""`flowd prune`: old events go with all that belongs to them, and nothing else does."""

import json
import sqlite3
from contextlib import closing

import pytest
from daemon_rig import Workspace, about_the_file, flowd_says, say

DAY_MS = 86_400_000


def age(place: Workspace, days: int) -> None:
    """Make everything that a daemon which is gone has stored so much older."""
    with place.database() as db:
        db.execute("UPDATE events SET created_at_ms = created_at_ms - ?", (days * DAY_MS,))
        db.execute("UPDATE runs SET completed_at_ms = completed_at_ms - ?", (days * DAY_MS,))


def test_old_events_go_with_their_runs_and_output_and_their_ids_are_new(place: Workspace) -> None:
    place.flow("big", f"head -c 100000 /dev/zero | tr '\\0' x; echo; {say('changed')}")
    place.start()
    for event_id in ("old", "older"):
        place.call("flow.dispatch", event={"id": event_id, "type": "big.go"}, wait=True)
    assert place.stop() == 0
    age(place, 100)
    place.start()
    place.call("flow.dispatch", event={"id": "now", "type": "big.go"}, wait=True)
    folder = place.path / ".codex/flowd/output"
    assert len(list(folder.glob("*.stdout"))) == 3

    assert "at least a minute" in flowd_says(place, "prune", "--older-than", "5s", code=2)
    assert "forgot 0 events" in flowd_says(place, "prune", "--older-than", "101d")
    assert "would forget 2 events and 2 runs with 195" in flowd_says(place, "prune", "--older-than", "90d", "--dry-run")
    assert len(place.call("flow.listEvents")["events"]) == 3
    assert "forgot 2 events and 2 runs with 195" in flowd_says(place, "prune", "--older-than", "90d")

    assert [event["id"] for event in place.call("flow.listEvents")["events"]] == ["now"]
    assert len(list(folder.glob("*.stdout"))) == 1
    assert "Unknown event" in flowd_says(place, "event", "old", code=4)
    again = place.call("flow.dispatch", event={"id": "old", "type": "big.go"}, wait=True)
    assert (again["status"], again["runs"][0]["effectiveStatus"]) == ("accepted", "changed")
    assert len(flowd_says(place, "logs", again["runIds"][0])) > 100_000


@about_the_file
@pytest.mark.parametrize("is_old", [False, True], ids=["of now", "of an older flowd"])
def test_the_database_gives_its_room_back(place: Workspace, is_old: bool) -> None:
    place.flow("quick", say("changed"))
    place.start()
    file = place.path / ".codex/flowd/flowd.db"
    if is_old:
        assert place.stop() == 0
        with closing(sqlite3.connect(file, isolation_level=None)) as db:
            db.execute("PRAGMA auto_vacuum = NONE")
            db.execute("VACUUM")
        place.start()
    for n in range(30):
        place.call("flow.dispatch", event={"id": f"e{n}", "type": "none.go", "payload": {"much": "x" * 200_000}})
    place.call("flow.dispatch", event={"id": "run", "type": "quick.go"}, wait=True)
    assert place.stop() == 0
    age(place, 100)
    before = file.stat().st_size
    place.start()
    place.call("flow.dispatch", event={"id": "newest", "type": "quick.go"}, wait=True)

    told = json.loads(flowd_says(place, "prune", "--older-than", "90d", "--json"))

    assert told["events"] == 31
    if is_old:
        assert (told.get("freedBytes", 0), told["freeBytes"] > before // 2) == (0, True)
        assert "for records" in flowd_says(place, "status")
        assert "free" in flowd_says(place, "status")
        told = json.loads(flowd_says(place, "prune", "--compact", "--json"))
    assert told["freedBytes"] > before // 2
    assert told.get("freeBytes", 0) < 1_000_000
    assert file.stat().st_size < before // 2
    assert place.call("flow.dispatch", event={"id": "newest", "type": "quick.go"})["status"] == "duplicate"
    assert "Missing option '--older-than'" in flowd_says(place, "prune", code=2)


def test_imported_events_are_forgotten_too(place: Workspace) -> None:
    record: dict[str, list[object]] = {"events": [], "runs": []}
    for n in range(3):
        at = f"2024-05-0{n + 1}T00:00:00.000Z"
        event = {"id": f"old{n}", "type": "t", "receivedAt": at, "payload": {}}
        record["events"].append({"event": event, "createdAt": at, "runIds": []})
    state = place.path / "state.json"
    state.write_text(json.dumps(record))
    flowd_says(place, "import", str(state))
    place.flow("quick", say("changed"))
    place.start()
    place.call("flow.dispatch", event={"id": "now", "type": "quick.go"}, wait=True)

    assert "forgot 3 events" in flowd_says(place, "prune", "--older-than", "90d")

    assert [event["id"] for event in place.call("flow.listEvents")["events"]] == ["now"]


def test_rules_of_the_settings_say_what_goes(place: Workspace) -> None:
    place.flow("quick", say("changed"))
    place.flow("fails", "exit 1")
    settings = place.path / ".codex/flowd.toml"
    settings.parent.mkdir(exist_ok=True)
    settings.write_text('[retention]\nmax_age = "90d"\n\n[[retention.rules]]\nstatus = "failed"\nmax_age = "365d"\n')
    place.start()
    for event_id, kind in (("old", "quick"), ("old failed", "fails")):
        place.call("flow.dispatch", event={"id": event_id, "type": f"{kind}.go"}, wait=True)
    assert place.stop() == 0
    age(place, 100)
    place.start()
    place.call("flow.dispatch", event={"id": "now", "type": "quick.go"}, wait=True)
    place.call("flow.dispatch", event={"id": "newest", "type": "quick.go"}, wait=True)

    assert "failed: 365d; everything else: 90d" in flowd_says(place, "status")
    assert "would forget 1 event and 1 run" in flowd_says(place, "prune", "--dry-run")
    assert "by the rules of [retention]" in flowd_says(place, "prune")
    assert [event["id"] for event in place.call("flow.listEvents")["events"]] == ["newest", "now", "old failed"]
    told = place.call("daemon.status")["retention"]
    assert (told["events"], told["runs"], told["rules"]) == (1, 1, ["failed: 365d", "everything else: 90d"])

    settings.write_text("[retention]\nmax_events = 1\n")
    assert "retention" in flowd_says(place, "reload")
    assert "forgot 2 events" in flowd_says(place, "prune")
    settings.write_text('[retention]\nmax_age = "soon"\n')
    assert 'max_age must be how long, like "90d"' in flowd_says(place, "reload", code=5)
    assert place.call("daemon.status")["retention"]["rules"] == ["everything: 1 event"]
