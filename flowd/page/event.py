"""*Event*: its tree as a graph, its rounds on a timeline, what it says, and what can be done again of it."""

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

from flowd.api import json
from flowd.api.shapes.events import take_text
from flowd.page.drawing import Node, draw
from flowd.page.graph import MAX_NODES, Edge
from flowd.page.output import number
from flowd.page.rounds import AT_ONCE, MORE, View, charts, failed_now, has_failed, newest
from flowd.page.verdicts import nearest
from flowd.page.visit import Visit, plain, segment
from flowd.page.words import readable, took, visible
from flowd.page.wrapping import Shown
from flowd_client import methods as names

Link = Callable[[str], str]
"""The address of a page by its path."""

_EVENTS = 100
_RUNS_ASKED = 600
"""Of a tree. More would hold the loop for longer than anybody else may wait."""
_QUESTIONS = 20
_PART = 64 * 1024
"""Characters after which others have their turn."""
_RUNS = 200


async def show(visit: Visit) -> Shown:
    """The page."""
    event_id = visit.call.values["eventId"]
    asked = {"eventId": event_id, "tree": "true", "limit": _EVENTS, "maxRuns": _RUNS_ASKED}
    view = await visit.view(names.GET_EVENT, asked)
    view.runs, view.event.runs, view.event.run_ids = [], None, ()  # the tree has them, too
    text = take_text(view.event)
    got = plain(view)
    event, tree = got["event"], got["tree"]["events"]
    catalog = await visit.ask(names.LIST_FLOWS)
    # Of hundreds of runs all of this takes long.
    has_more_events = "nextCursor" in got["tree"]
    made = await asyncio.to_thread(_of_tree, visit, event_id, tree, needs_of(catalog["flows"]))
    members: dict[str, Any] = {
        "event": event,
        "path": f"/ui/events/{segment(event_id)}",
        "more_events": has_more_events,
        "shown_runs": len(tree[0]["runs"]),
        "run_count": tree[0].get("runCount"),
        **made,
        **(await _said(visit, text) if visit.mark is None else {}),
    }
    if has_more_events or members["run_count"] is not None:
        members["statuses"] = await _statuses(visit, event_id)
    return Shown("event.html", members)


def _of_tree(
    visit: Visit, event_id: str, tree: Sequence[View], needs: Mapping[tuple[str, str], Sequence[str]]
) -> dict[str, Any]:
    """What there is to show of the runs of a tree."""
    nodes, edges = graph(visit.link, tree, needs)
    runs = [run for one in tree for run in one["runs"]]
    failed = [run for one in tree for run in newest(one["runs"]) if has_failed(run)]
    count = number(visit.call.query, "rounds") or AT_ONCE
    drawn, earlier = charts(runs, visit.now_ms, count, failed)
    return {
        "graph": draw(nodes, edges, "What this event has started"),
        "left_out": max(0, len(nodes) - MAX_NODES),
        "questions": [question(run) for one in tree for run in newest(one["runs"]) if run["needsAttention"]][
            :_QUESTIONS
        ],
        "charts": drawn,
        "earlier": earlier,
        "next_rounds": count + MORE,
        "runs": sorted(runs, key=lambda run: str(run["createdAt"]), reverse=True)[:_RUNS],
        "steps": in_order({label(run) for run in tree[0]["runs"]}, needs),
        "statuses": tally(tree),
        "failed": failed_now(tree),
        "failed_step": next((label(run) for run in failed if run["eventId"] == event_id), None),
        "is_open": any(run["status"] in ("queued", "running") for run in runs),
    }


async def _statuses(visit: Visit, event_id: str) -> dict[str, int]:
    """`tally` of a tree that has more runs than are shown."""
    asked = {"eventId": event_id, "tree": "true", "timeoutMs": 0}
    found: dict[str, int] = (await visit.ask(names.WAIT_EVENT, asked))["state"]["statuses"]
    return {"asks" if status == "needs_intervention" else status: count for status, count in found.items()}


async def _said(visit: Visit, text: bytes) -> dict[str, Any]:
    """What never changes of an event, and what is told when the page is opened and not again."""
    query = visit.call.query
    shown, is_whole = await asyncio.to_thread(_readable, text, is_whole="whole" in query)
    explained = None
    if "explain" in query:
        explained = nearest(await visit.ask(names.EXPLAIN, {"event": json.decode(text)}))
    return {"text": shown, "is_whole": is_whole, "explained": explained}


def _readable(text: bytes, *, is_whole: bool) -> tuple[Markup, bool]:
    """`readable`, escaped: of megabytes that takes long."""
    shown, is_all = readable(text, is_whole=is_whole)
    parts = (shown[at : at + _PART] for at in range(0, len(shown), _PART))
    return Markup("").join(escape(visible(part)) for part in parts), is_all


def label(run: View) -> str:
    """The step of a run, as messages name it."""
    return f"{run['flowName']}/{run['stepName']}"


def in_order(steps: Collection[str], needs: Mapping[tuple[str, str], object]) -> list[str]:
    """Steps in the order in which their flows have them; those that these have no more come last.

    >>> in_order({"a/x", "a/old", "a/b"}, {("a", "x"): (), ("a", "b"): ()})
    ['a/x', 'a/b', 'a/old']
    """
    known = [name for flow, step in needs if (name := f"{flow}/{step}") in steps]
    return known + sorted(set(steps) - set(known))


def question(run: View) -> dict[str, Any]:
    """What a run asks, as `flow.attention` tells it."""
    said = run.get("result") or {}
    return {"run": run, "message": said.get("message") or run.get("error"), "since": run.get("completedAt")}


def tally(tree: Sequence[View]) -> dict[str, int]:
    """How many steps have which status, each with that of its newest run."""
    found: dict[str, int] = {}
    for event in tree:
        for run in newest(event["runs"]):
            found[word(run)] = found.get(word(run), 0) + 1
    return found


def word(run: View) -> str:
    """How a run is, in a word that the stylesheet knows.

    >>> word({"needsAttention": True, "effectiveStatus": "needs_intervention"})
    'asks'
    """
    return "asks" if run["needsAttention"] else str(run["effectiveStatus"])


def needs_of(flows: Sequence[View]) -> dict[tuple[str, str], tuple[str, ...]]:
    """What each step needs, by flow and step."""
    return {(flow["name"], step["name"]): tuple(step.get("needs") or ()) for flow in flows for step in flow["steps"]}


def graph(
    link: Link, tree: Sequence[View], needs: Mapping[tuple[str, str], Sequence[str]]
) -> tuple[list[Node], list[Edge]]:
    """Each event of a tree, with the newest run of each step; the events that runs caused behind them."""
    nodes: list[Node] = []
    edges: list[Edge] = []
    node_of_run: dict[str, str] = {}
    is_named = len({run["flowName"] for event in tree for run in event["runs"]}) > 1
    for event in tree:
        own = f"e {event['id']}"
        is_this = event is tree[0]
        address = None if is_this else link(f"/ui/events/{segment(event['id'])}")
        nodes.append(Node(own, event["type"], event["id"], "event", link=address))
        cause = event.get("causedBy")
        if cause is not None and not is_this and cause["runId"] in node_of_run:
            edges.append(Edge(node_of_run[cause["runId"]], own, "next"))
        steps = {(run["flowName"], run["stepName"]): f"r {event['id']} {run['flowName']}/{run['stepName']}"
                 for run in event["runs"]}  # fmt: skip
        node_of_run.update((run["id"], steps[run["flowName"], run["stepName"]]) for run in event["runs"])
        nodes += (
            _run_node(link, run, steps[run["flowName"], run["stepName"]], is_named=is_named)
            for run in newest(event["runs"])
        )
        edges += _edges_of(own, steps, needs)
    return nodes, edges


def _edges_of(
    event: str, steps: Mapping[tuple[str, str], str], needs: Mapping[tuple[str, str], Sequence[str]]
) -> Iterator[Edge]:
    for (flow, step), node in steps.items():
        needed = [steps[flow, name] for name in needs.get((flow, step), ()) if (flow, name) in steps]
        if not needed:
            yield Edge(event, node, "trigger")
        for other in needed:
            yield Edge(other, node, "need")


def _run_node(link: Link, run: View, node: str, *, is_named: bool) -> Node:
    status = word(run)
    percent = (run.get("progress") or {}).get("percent") if status == "running" else None
    how = status if percent is None else f"{percent:.0f} %"
    note = " · ".join(filter(None, [run["flowName"], how] if is_named else [how, took(run.get("durationMs"))]))
    return Node(node, run["stepName"], note, status=status, link=link(f"/ui/runs/{segment(run['id'])}"))
