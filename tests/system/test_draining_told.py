"""A drain is told where people look for why nothing starts, and so is what ends it."""

import pytest
from daemon_rig import Workspace, flowd_says, say, until

from flowd_client.errors import RefusedError


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


def test_a_daemon_that_stops_says_so_and_refuses_to_start_runs_again(place: Workspace) -> None:
    place.flow("work", "until [ -e go ]; do sleep 0.02; done; " + say("changed"))
    place.start(FLOWD_MAX_PARALLEL="1")
    place.call("flow.dispatch", event={"id": "first", "type": "work.go"})
    until(lambda: place.call("daemon.status")["runs"]["running"], what="the step")
    (queued,) = place.call("flow.dispatch", event={"id": "second", "type": "work.go"})["runIds"]
    assert place.process is not None
    place.process.terminate()
    until(lambda: place.call("daemon.status").get("stopping"), what="the stop")
    assert place.call("daemon.status")["state"] == "draining"
    for words in (["runs"], ["run", queued], ["queue"], ["resume"]):
        shown = " ".join(flowd_says(place, *words).split())
        assert "the daemon stops; the next one starts what is queued" in shown, words
    told = flowd_says(place, "status") + flowd_says(place, "drain")
    assert "stopping: no run starts; the next one starts what is queued" in told
    assert "--off" not in told
    refusal = "The daemon is stopping, and starts no more runs: the next one starts what is queued."
    for words in (["drain", "--off"], ["undrain"], ["hosts", "undrain", host_name(place)]):
        assert refusal in flowd_says(place, *words, code=5), words
    with place.client() as client, pytest.raises(RefusedError) as refused:
        client.call("host.undrain", {"host": host_name(place)})
    assert (refused.value.slug, refused.value.code) == ("refused", -32053)
    (place.path / "flows/work/go").touch()
    assert place.process.wait(60) == 0


def host_name(place: Workspace) -> str:
    (host,) = place.call("host.list")["hosts"]
    return str(host["name"])
