"""From inside a real step: waiting is refused where what is waited for can only end after that step, and only there."""

import sys
from typing import Any

import pytest
from client_rig import http_url
from daemon_rig import Workspace, say

STEP = """
import asyncio, json, os, subprocess, sys
from flowd_client import CallError, create_async_flow_client, create_flow_client

PATIENCE_MS = 20_000
event = json.load(sys.stdin)["flow"]["event"]
own = os.environ["FLOWD_RUN_ID"]
flows = create_flow_client(mode="socket", timeout_s=60)
http = create_flow_client(mode="http", base_url=event["payload"]["http"], timeout_s=60)

def run_of(flow, step="main", event_id=event["id"]):
    return next(r.id for r in flows.list_runs(event_id=event_id) if (r.flow_name, r.step_name) == (flow, step))

new = {"id": event["id"] + "n", "type": "same.go"}
same_again = {name: event[name] for name in ("id", "type", "payload")}

def dispatched(flow, event_id):
    return flows.dispatch_event({"id": event_id, "type": flow + ".go"}).run_ids[0]

def inside(verb, *words, **options):
    async def do():
        async with create_async_flow_client(mode="socket", timeout_s=60) as client:
            return await getattr(client, verb)(*words, **options)
    return asyncio.run(do())

def cli(*words):
    done = subprocess.run([sys.executable, "-m", "flowd", *words], capture_output=True, text=True)
    return "would_deadlock" if "must not wait" in done.stderr else f"exit {done.returncode}"

try:
    view = eval(event["payload"]["expression"])
    said = view if isinstance(view, str) else "late" if getattr(view, "timed_out", False) else getattr(
        view, "effective_status", "over")
except CallError as error:
    said = error.slug
print("FLOW_RESULT", json.dumps({"status": "changed", "artifacts": {"said": said}}))
"""
KEY = '[concurrency]\ngroup = "one"\n'
STEP_KEY = '[steps.concurrency]\ngroup = "one"\n'


def asks(place: Workspace, *, top: str = "", step: str = "", more: str = "") -> None:
    """A flow ``asks`` whose step does what its event's payload says, and tells what became of it."""
    folder = place.flow("asks", STEP, runner="python", top=top, step=step)
    (place.path / ".codex").mkdir(exist_ok=True)
    (place.path / ".codex/flowd.toml").write_text(f'[runners]\npython = "{sys.executable}"\n')
    with (folder / "flow.toml").open("a", encoding="utf-8") as manifest:
        manifest.write(more)
    (folder / "other.sh").write_text(f"#!/bin/sh\n{say('changed')}\n", encoding="utf-8")
    (folder / "other.sh").chmod(0o755)


class Asking:
    """Has steps say what became of waiting."""

    def __init__(self, place: Workspace, **environment: str) -> None:
        place.start(FLOWD_HTTP="127.0.0.1:0", **environment)
        self._place = place
        self._http = http_url(place)
        self._count = 0

    def event(self, event_id: str, expression: str) -> dict[str, Any]:
        return {"id": event_id, "type": "asks.go", "payload": {"expression": expression, "http": self._http}}

    def said(self, expression: str) -> str:
        self._count += 1
        event = self.event(f"e{self._count}", expression)
        runs = self._place.call("flow.dispatch", event=event, wait=True, timeoutMs=60_000)["runs"]
        run = next(run for run in runs if run["flowName"] == "asks" and run["stepName"] == "main")
        assert run["effectiveStatus"] == "changed", run["error"]
        return str(run["result"]["artifacts"]["said"])

    def all_said(self, expressions: list[str]) -> dict[str, str]:
        return {expression: self.said(expression) for expression in expressions}


def ends(place: Workspace, event_id: str) -> list[str]:
    state = place.call("flow.waitEvent", eventId=event_id, timeoutMs=50_000)
    assert state["timedOut"] is False
    return [run["effectiveStatus"] for run in place.call("flow.getEvent", eventId=event_id)["runs"]]


AFTER = '[[steps]]\nname = "after"\nrunner = "exec"\nscript = "other.sh"\nneeds = ["main"]\n'
BESIDE = '[[steps]]\nname = "later"\nrunner = "exec"\nscript = "other.sh"\n[steps.trigger]\ntype = "asks.go"\n'

OWN = [
    "flows.wait_run(own, timeout_ms=PATIENCE_MS)",
    "inside('wait_run', own, timeout_ms=PATIENCE_MS)",
    "http.wait_run(own, timeout_ms=PATIENCE_MS)",
    "flows.wait_event(event['id'], timeout_ms=PATIENCE_MS)",
    "http.wait_event(event['id'], timeout_ms=PATIENCE_MS)",
    "flows.dispatch_event(same_again, wait=True, timeout_ms=PATIENCE_MS)",
    "flows.wait_run(run_of('asks', 'after'), timeout_ms=PATIENCE_MS)",
    "flows.replay_event(event['id'], wait=True, tree=True, timeout_ms=PATIENCE_MS)",
    "http.replay_event(event['id'], wait=True, tree=True, timeout_ms=PATIENCE_MS)",
]


def test_a_step_waits_neither_for_itself_nor_for_what_needs_it(place: Workspace) -> None:
    asks(place, more=AFTER)
    asking = Asking(place)
    assert asking.all_said(OWN) == dict.fromkeys(OWN, "would_deadlock")
    for number in range(1, len(OWN) + 1):  # no replay was begun
        assert ends(place, f"e{number}") == ["changed", "changed"]
    assert place.stop() == 0


KEPT = [
    "flows.wait_run(dispatched('same', event['id'] + 'a'), timeout_ms=PATIENCE_MS)",
    "inside('dispatch_event', new, wait=True, timeout_ms=PATIENCE_MS)",
    "http.dispatch_event(new, wait=True, timeout_ms=PATIENCE_MS)",
    "flows.replay_event('old', wait=True, timeout_ms=PATIENCE_MS)",
    "inside('replay_event', 'old', wait=True, timeout_ms=PATIENCE_MS)",
    "http.replay_event('old', wait=True, timeout_ms=PATIENCE_MS)",
    "flows.replay_event('old', wait=True, tree=True, timeout_ms=PATIENCE_MS)",
    "http.replay_event('old', wait=True, tree=True, timeout_ms=PATIENCE_MS)",
    "cli('replay', 'old', '--wait', '--only', '--timeout', '20s')",
    "cli('replay', 'old', '--wait', '--timeout', '20s')",
    "cli('dispatch', '--type', 'same.go', '--id', event['id'] + 'b', '--wait', '--only', '--timeout', '20s')",
]


@pytest.mark.parametrize("wanted", [{"step": STEP_KEY}, {"top": KEY}], ids=["of its own", "of its round"])
def test_a_step_does_not_wait_for_what_needs_a_key_that_it_holds(place: Workspace, wanted: dict[str, str]) -> None:
    asks(place, **wanted)
    place.flow("same", say("changed"), **wanted)
    asking = Asking(place)
    place.call("flow.dispatch", event={"id": "old", "type": "same.go"}, wait=True)
    assert asking.all_said(KEPT) == dict.fromkeys(KEPT, "would_deadlock")
    assert ends(place, "old") == ["changed"]  # no replay was begun
    assert place.stop() == 0


def test_a_step_does_not_wait_for_the_retry_of_what_needs_its_key(place: Workspace) -> None:
    asks(place, step=STEP_KEY)
    place.flow("bad", f"[ -e {place.path}/good ] || exit 1; {say('changed')}", step=STEP_KEY)
    asking = Asking(place)
    run_ids = [
        place.call("flow.dispatch", event={"id": name, "type": "bad.go"}, wait=True)["runIds"][0] for name in "abc"
    ]
    (place.path / "good").touch()
    for words in (f"'{run_ids[0]}'", "'--event', 'b', '--failed', '--only'", "'--event', 'c', '--failed'"):
        assert asking.said(f"cli('retry', {words}, '--wait', '--timeout', '20s')") == "would_deadlock"
    assert [ends(place, name) for name in "abc"] == [["failed"]] * 3  # none was retried
    assert place.stop() == 0


FREE = [
    "flows.wait_run(run_of('beside'), timeout_ms=PATIENCE_MS)",
    "inside('wait_run', run_of('beside'), timeout_ms=PATIENCE_MS)",
    "http.wait_run(run_of('beside'), timeout_ms=PATIENCE_MS)",
    "flows.wait_run(run_of('asks', 'later'), timeout_ms=PATIENCE_MS)",
    "flows.replay_event(event['id'], wait=True, steps=['beside/main'], timeout_ms=PATIENCE_MS).runs[0]",
    "http.replay_event(event['id'], wait=True, steps=['beside/main'], timeout_ms=PATIENCE_MS).runs[0]",
    "inside('replay_event', event['id'], wait=True, steps=['asks/later'], timeout_ms=PATIENCE_MS).runs[0]",
    "flows.dispatch_event(new, wait=True, timeout_ms=PATIENCE_MS).runs[0]",
    "http.dispatch_event(new, wait=True, timeout_ms=PATIENCE_MS).runs[0]",
    "cli('replay', event['id'], '--step', 'beside/main', '--wait', '--only', '--timeout', '20s')",
]


def test_a_step_waits_for_what_can_end_also_where_that_is_of_its_own_event(place: Workspace) -> None:
    asks(place, step=STEP_KEY, more=BESIDE)
    place.flow("beside", say("changed"), trigger="asks.go")
    place.flow("same", say("changed"))
    assert Asking(place).all_said(FREE) == {one: "exit 0" if one.startswith("cli(") else "changed" for one in FREE}
    assert place.stop() == 0


def test_the_last_place_waits_for_what_has_ended_and_for_nothing_that_needs_one(place: Workspace) -> None:
    asks(place)
    place.flow("same", say("changed"))
    asking = Asking(place, FLOWD_MAX_PARALLEL="1")
    place.call("flow.dispatch", event={"id": "old", "type": "same.go"}, wait=True)
    waits = "flows.wait_run({}, timeout_ms=PATIENCE_MS)"
    assert asking.said(waits.format("run_of('same', event_id='old')")) == "changed"
    assert asking.said(waits.format("dispatched('same', event['id'] + 'a')")) == "would_deadlock"
    assert asking.said("flows.replay_event('old', wait=True, timeout_ms=PATIENCE_MS)") == "would_deadlock"
    assert ends(place, "old") == ["changed"]  # no replay was begun
    assert place.stop() == 0


def test_two_steps_do_not_wait_for_each_other_for_ever(place: Workspace) -> None:
    asks(place)
    asking = Asking(place)
    place.call("flow.pause")
    for own, other in (("left", "right"), ("right", "left")):
        waits = f"flows.wait_run(run_of('asks', event_id='{other}'), timeout_ms=PATIENCE_MS)"
        place.call("flow.dispatch", event=asking.event(own, waits))
    place.call("flow.resume")
    found = []
    for name in ("left", "right"):
        assert ends(place, name) == ["changed"]
        (run,) = place.call("flow.getEvent", eventId=name)["runs"]
        found.append(run["result"]["artifacts"]["said"])
    assert "would_deadlock" in found
    assert set(found) <= {"would_deadlock", "changed"}
    assert place.stop() == 0
