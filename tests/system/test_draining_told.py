"""A drain is told where people look for why nothing starts, and so is what ends it."""

from daemon_rig import Workspace, flowd_says, say


def test_a_run_that_is_ready_says_that_the_daemon_drains(place: Workspace) -> None:
    place.flow("work", say("changed"))
    place.start()
    flowd_says(place, "drain")
    (run_id,) = place.call("flow.dispatch", event={"id": "e", "type": "work.go"})["runIds"]
    ends = f"`flowd drain -w {place.path} --off` goes on"
    for words in (["runs"], ["run", run_id], ["queue"], ["resume"]):
        assert f"the daemon drains; {ends}" in " ".join(flowd_says(place, *words).split()), words
    assert f"draining: no run starts; {ends}" in flowd_says(place, "status")
    assert "argument (off). `flowd drain --off` starts runs again." in flowd_says(place, "drain", "off", code=2)
    flowd_says(place, "drain", "--off")
    assert place.call("flow.waitRun", runId=run_id)["run"]["effectiveStatus"] == "changed"
    assert "the daemon drains" not in flowd_says(place, "runs") + flowd_says(place, "resume")
