"""The status counts runs by what counts of them, as lists do, and not by what became of their processes."""

from daemon_rig import Workspace, flowd, flowd_says, say

SCRIPTS = {
    "good": say("changed"),
    "says": say("failed", message="no"),
    "crashes": "exit 3",
    "stuck": say("blocked"),
    "asks": say("needs_intervention", message="Publish?"),
}


def test_what_people_read_agrees_with_the_lists(place: Workspace) -> None:
    for name, script in SCRIPTS.items():
        place.flow(name, script)
    place.start()
    for name in SCRIPTS:
        place.call("flow.dispatch", event={"id": name, "type": f"{name}.go"}, wait=True)
    assert " 1 well, 2 failed, 0 canceled, 1 blocked, 1 needs_intervention\n" in flowd_says(place, "status")
    flowd_says(place, "reject", "asks/main", "-m", "no")
    assert " 1 well, 3 failed, 0 canceled, 1 blocked\n" in flowd_says(place, "status")
    assert len(place.call("flow.listRuns", status="failed")["runs"]) == 3
    status = place.call("daemon.status")
    assert status["outcomes"] == {"well": 1, "failed": 3, "canceled": 0, "blocked": 1}
    assert status["runs"] == {"queued": 0, "running": 0, "completed": 4, "failed": 1, "canceled": 0}
    header, *rows = flowd(place, "status", "--all").stdout.splitlines()
    (mine,) = [row for row in rows if row.startswith(f"{place.path} ")]
    assert mine[header.index("FAILED") :].split()[0] == "3"
