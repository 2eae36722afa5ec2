"""Two events whose runs have the same 48 bits of a hash: both run, and both are found."""

from daemon_rig import Workspace, say

from flowd.domain import ids

FIRST, SECOND = "c:25885328", "c:45211452"


def test_events_whose_runs_would_have_one_id_both_run_and_are_replayed(place: Workspace) -> None:
    place.flow("stubborn", say("changed"), trigger="s.go")
    manifest = place.path / "flows/stubborn/flow.toml"
    manifest.write_text(manifest.read_text().replace('name = "main"', 'name = "s"'))
    assert ids.run_id(FIRST, "stubborn", "s") == ids.run_id(SECOND, "stubborn", "s")
    place.start()

    found = [
        place.call("flow.dispatch", event={"id": event_id, "type": "s.go"}, wait=True) for event_id in (FIRST, SECOND)
    ]

    first, second = (answer["runIds"][0] for answer in found)
    assert first == ids.run_id(FIRST, "stubborn", "s")  # the reference system's
    assert second == ids.longer_run_id(first, SECOND, "stubborn", "s")
    assert [answer["runs"][0]["effectiveStatus"] for answer in found] == ["changed", "changed"]
    assert place.call("flow.getRun", runId=second)["run"]["eventId"] == SECOND
    again = place.call("flow.dispatch", event={"id": SECOND, "type": "s.go"})
    assert (again["status"], again["runIds"]) == ("duplicate", [second])
    (replayed,) = place.call("flow.replay", eventId=SECOND)["runs"]
    assert replayed["replayOf"] == second
    assert place.stop() == 0
