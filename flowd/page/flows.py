"""*Flows*: which there are and how they are, and each as a graph of what starts its steps and what follows."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from flowd.api.http.responses import HttpError
from flowd.page.drawing import Node, draw
from flowd.page.event import Link, word
from flowd.page.graph import MAX_NODES, Edge
from flowd.page.rounds import View
from flowd.page.visit import Visit, segment
from flowd.page.words import took
from flowd.page.wrapping import Shown
from flowd_client import methods as names

_RECENT_RUNS = 200
_LAST_RESULTS = 10
_LISTED = 200
_SCHEDULES = 100
_RARE = 20
"""Of how many flows, or steps of a flow, the latest runs are asked for where others run far more often."""


async def show_all(visit: Visit) -> Shown:
    """The page with all of them."""
    catalog = await visit.ask(names.LIST_FLOWS)
    recent = (await visit.ask(names.LIST_RUNS, {"limit": _RECENT_RUNS}))["runs"]
    paused = await _paused(visit)
    last: dict[str, list[View]] = {}
    for run in recent:
        last.setdefault(run["flowName"], []).append(run)
    is_all = len(recent) < _RECENT_RUNS
    sought = visit.call.query.get("text", "")
    flows = [flow for flow in catalog["flows"] if sought.lower() in f"{flow['name']} {flow.get('description')}".lower()]
    listed = flows if "all" in visit.call.query else flows[:_LISTED]
    rare = [] if is_all else [flow["name"] for flow in listed if flow["name"] not in last]
    for name in rare[:_RARE]:
        last[name] = (await visit.ask(names.LIST_RUNS, {"flow": name, "limit": _LAST_RESULTS}))["runs"]
    members = {
        "flows": listed,
        "not_listed": 0 if "all" in visit.call.query else max(0, len(flows) - _LISTED),
        "text": sought,
        "warnings": _warnings(visit, listed),
        "broken": catalog["broken"],
        "shadowed": catalog["shadowed"],
        "stale": {package["name"] for package in catalog["broken"] if package["stale"]},
        "paused": paused,
        "last": {name: runs[:_LAST_RESULTS] for name, runs in last.items()},
        "unknown": set(rare[_RARE:]),
    }
    return Shown("flows.html", members)


async def show(visit: Visit) -> Shown:
    """The page of one."""
    name = visit.call.values["flowName"]
    catalog = await visit.ask(names.LIST_FLOWS)
    flow = next((flow for flow in catalog["flows"] if flow["name"] == name), None)
    findings = [package for package in catalog["broken"] if package["name"] == name]
    if flow is None and not findings:
        raise HttpError("not_found", f"There is no flow {name}.")
    last = await _last_results(visit, name, [step["name"] for step in flow["steps"]] if flow else [])
    paused = await _paused(visit)
    nodes, edges = graph(visit.link, flow, last, paused, starters(catalog["flows"])) if flow else ([], [])
    members = {
        "name": name,
        "flow": flow,
        "path": f"/ui/flows/{segment(name)}",
        "findings": findings,
        "warnings": _warnings(visit, [flow])[name] if flow else [],
        "shadowed": [one for one in catalog["shadowed"] if one["name"] == name],
        "paused": paused,
        "watches": await _watches(visit, flow),
        "graph": await asyncio.to_thread(draw, nodes, edges, f"The steps of {name}") if nodes else None,
        "left_out": max(0, len(nodes) - MAX_NODES),
        "last": {step: runs[:_LAST_RESULTS] for step, runs in last.items()},
        "schedules": await _schedules(visit, flow) if flow else [],
        "triggers": sorted({step["triggerType"] for step in flow["steps"] if step.get("triggerType")}) if flow else [],
    }
    return Shown("flow.html", members)


def _warnings(visit: Visit, flows: Sequence[View]) -> dict[str, list[str]]:
    """What is to be said of each of these flows, although they are in force."""
    doubts = visit.doubts([flow["name"] for flow in flows])
    return {flow["name"]: [*flow.get("warnings", ()), *doubts.get(flow["name"], ())] for flow in flows}


async def _schedules(visit: Visit, flow: View) -> list[View]:
    """What comes to a flow by itself."""
    if not flow.get("schedules"):
        return []
    asked = {"flow": flow["name"], "limit": _SCHEDULES}
    found: list[View] = (await visit.ask(names.SCHEDULES, asked))["schedules"]
    return found


async def _watches(visit: Visit, flow: View | None) -> list[View]:
    if flow is None or not flow.get("watches"):
        return []
    return [watch for watch in (await visit.ask(names.WATCHES))["watches"] if watch["flow"] == flow["name"]]


async def _last_results(visit: Visit, flow: str, steps: Sequence[str]) -> dict[str, list[View]]:
    """The latest runs of each step, the newest first; where others run far more often, of a few rare ones, too."""
    recent = (await visit.ask(names.LIST_RUNS, {"flow": flow, "limit": _RECENT_RUNS}))["runs"]
    last: dict[str, list[View]] = {step: [] for step in steps}
    for run in recent:
        last.setdefault(run["stepName"], []).append(run)
    rare = [step for step, runs in last.items() if not runs] if len(recent) == _RECENT_RUNS else []
    for step in rare[:_RARE]:
        asked = {"flow": flow, "step": step, "limit": _LAST_RESULTS}
        last[step] = (await visit.ask(names.LIST_RUNS, asked))["runs"]
    return last


async def _paused(visit: Visit) -> dict[str, View]:
    """What is paused, by its name: ``*``, a flow, or ``flow/step``."""
    queue = await visit.ask(names.QUEUE, {"limit": 1})
    return {pause["what"]: pause for pause in queue["pauses"]}


def starters(flows: Sequence[View]) -> dict[str, list[str]]:
    """Which flows each type of event starts."""
    found: dict[str, list[str]] = {}
    for flow in flows:
        for kind in dict.fromkeys(step.get("triggerType") for step in flow["steps"]):
            found.setdefault(kind, []).append(flow["name"])
    return found


def graph(
    link: Link,
    flow: View,
    last: Mapping[str, Sequence[View]],
    paused: Mapping[str, View],
    started: Mapping[str, Sequence[str]],
) -> tuple[list[Node], list[Edge]]:
    """What starts the steps of a flow, what each needs, and which events its latest runs have caused; ``started`` are
    the flows that each type starts."""
    nodes: dict[str, Node] = {}
    edges: list[Edge] = []
    known = {step["name"] for step in flow["steps"]}
    for step in flow["steps"]:
        name, trigger = step["name"], step.get("triggerType")
        own = f"s {name}"
        if trigger is not None:
            nodes.setdefault(f"t {trigger}", Node(f"t {trigger}", trigger, "starts it", "trigger"))
            edges.append(Edge(f"t {trigger}", own, "trigger"))
        nodes[own] = _step_node(link, flow["name"], name, last.get(name, ()), paused)
        edges += (Edge(f"s {need}", own, "need") for need in step.get("needs") or () if need in known)
    for name in known:
        for kind in sorted(set(_caused(last.get(name, ())))):
            # A flow that starts itself is drawn as that: the line leads back to what starts it.
            target = f"t {kind}" if f"t {kind}" in nodes else f"n {kind}"
            nodes.setdefault(target, _next_node(link, target, kind, started.get(kind, ())))
            edges.append(Edge(f"s {name}", target, "next"))
    return list(nodes.values()), edges


def _step_node(link: Link, flow: str, step: str, runs: Sequence[View], paused: Mapping[str, View]) -> Node:
    is_paused = "*" in paused or flow in paused or f"{flow}/{step}" in paused
    status = word(runs[0]) if runs else ""
    # There is no room for three words.
    said = [status or "has not run", "paused" if is_paused else took(runs[0].get("durationMs")) if runs else ""]
    address = link(f"/ui/runs/{segment(runs[0]['id'])}") if runs else None
    return Node(f"s {step}", step, " · ".join(filter(None, said)), status=status, link=address)


def _next_node(link: Link, node: str, kind: str, flows: Sequence[str]) -> Node:
    note = f"starts {', '.join(flows)}" if flows else "follows"
    return Node(node, kind, note, "next", link=link(f"/ui/flows/{segment(flows[0])}") if flows else None)


def _caused(runs: Sequence[View]) -> Iterator[str]:
    """Types of the events that results have caused: what comes next is only said there."""
    for run in runs:
        said: Any = (run.get("result") or {}).get("next")
        for event in said if isinstance(said, list) else [said]:
            if isinstance(event, dict) and isinstance(event.get("type"), str):
                yield event["type"]
