"""A schema whose check takes for ever holds nobody up: the daemon answers, the event is told, a stop is a stop."""

import contextlib
import json
from threading import Thread
from typing import Any

import psutil
import pytest
from daemon_rig import Workspace, until

from flowd_client import FlowClientError
from flowd_client.unix import UnixTransport

DOUBLED: dict[str, Any] = {
    "$defs": {
        "d0": {"type": "string"},
        **{f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{n - 1}"}] * 2} for n in range(1, 28)},
    },
    "properties": {"a": {"$ref": "#/$defs/d27"}},
}


@pytest.fixture
def workspace(place: Workspace) -> Workspace:
    for name in ("hostile", "honest"):
        folder = place.flow(name, 'echo \'FLOW_RESULT {"status":"completed"}\'', trigger="t.a")
        if name == "hostile":
            (folder / "s.json").write_text(json.dumps(DOUBLED))
            (folder / "flow.toml").write_text((folder / "flow.toml").read_text() + 'schema = "s.json"\n')
    return place


def test_others_are_answered_while_a_check_goes_on_and_a_stop_ends_it(workspace: Workspace) -> None:
    workspace.start(FLOWD_MAX_CHECK_MS="60000")
    answers: list[Any] = []

    def dispatch() -> None:
        event = {"id": "e", "type": "t.a", "payload": {"a": 1}}
        # By the bare transport: a client would go on asking for a daemon that does not come back.
        with contextlib.closing(UnixTransport(workspace.socket)) as transport:
            try:
                answers.append(transport.call("flow.dispatch", {"event": event}, timeout_s=60))
            except FlowClientError as error:
                answers.append(error)

    caller = Thread(target=dispatch)
    caller.start()
    until(lambda: _workers(workspace), what="a process for the check")
    for number in range(20):
        workspace.call("flow.dispatch", event={"id": f"o{number}", "type": "other"})
    assert not answers
    assert workspace.stop() == 0
    caller.join()
    assert isinstance(answers[0], FlowClientError)
    assert not _workers(workspace)


def test_an_event_whose_check_is_over_budget_still_starts_the_others(workspace: Workspace) -> None:
    workspace.start()
    answer = workspace.call("flow.dispatch", event={"id": "e", "type": "t.a", "payload": {"a": 1}})
    assert [run["flowName"] for run in answer["runs"]] == ["honest"]
    explained = workspace.call("flow.explain", event={"id": "e", "type": "t.a", "payload": {"a": 1}})
    (hostile,) = [step for step in explained["steps"] if step["flow"] == "hostile"]
    assert hostile["reason"] == "schema"
    assert "needs more than the 200 ms of CPU time" in hostile["errors"][0]["message"]
    (flow,) = [flow for flow in workspace.call("flow.listFlows")["flows"] if flow["name"] == "hostile"]
    assert "is checked in a process of its own" in flow["warnings"][0]
    assert workspace.stop() == 0


def _workers(workspace: Workspace) -> list[int]:
    """Processes of this daemon that make checks."""
    assert workspace.process is not None
    try:
        children = psutil.Process(workspace.process.pid).children()
        return [child.pid for child in children if "schema_worker" in " ".join(child.cmdline())]
    except psutil.Error:
        return []
