"""`flowd prune`: old events go with all that belongs to them, and nothing else does."""

import sqlite3
import subprocess
import sys
from contextlib import closing

from daemon_rig import Workspace, say

DAY_MS = 86_400_000


def flowd(place: Workspace, *argv: str, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "flowd", *argv, "-w", str(place.path)], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == code, (done.stdout, done.stderr)
    return done.stdout + done.stderr


def age(place: Workspace, days: int) -> None:
    """Make everything that a daemon which is gone has stored so much older."""
    with closing(sqlite3.connect(place.path / ".codex/flowd/flowd.db")) as db, db:
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

    assert "at least a minute" in flowd(place, "prune", "--older-than", "5s", code=2)
    assert "forgot 0 events" in flowd(place, "prune", "--older-than", "101d")
    assert "would forget 2 events and 2 runs with 195" in flowd(place, "prune", "--older-than", "90d", "--dry-run")
    assert len(place.call("flow.listEvents")["events"]) == 3
    assert "forgot 2 events and 2 runs with 195" in flowd(place, "prune", "--older-than", "90d")

    assert [event["id"] for event in place.call("flow.listEvents")["events"]] == ["now"]
    assert len(list(folder.glob("*.stdout"))) == 1
    assert "Unknown event" in flowd(place, "event", "old", code=4)
    again = place.call("flow.dispatch", event={"id": "old", "type": "big.go"}, wait=True)
    assert (again["status"], again["runs"][0]["effectiveStatus"]) == ("accepted", "changed")
    assert len(flowd(place, "logs", again["runIds"][0])) > 100_000
