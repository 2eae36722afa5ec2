"""*Run*: what became of a run and why, attempt by attempt, and what it printed."""

from collections.abc import Mapping
from typing import Any

from flowd.page import output
from flowd.page.event import question
from flowd.page.output import Place
from flowd.page.search import search
from flowd.page.timeline import timeline
from flowd.page.visit import Visit, segment
from flowd.page.wrapping import Shown
from flowd_client import methods as names
from flowd_client.wire import STREAMS

RETRYABLE = ("failed", "canceled", "blocked", "needs_intervention")
_MAX_ATTEMPTS_SHOWN = 100


async def show(visit: Visit) -> Shown:
    """The page. What was printed is not in what an open page asks for: that follows by itself, see `output.tail`."""
    run_id = visit.call.values["runId"]
    run = (await visit.ask(names.GET_RUN, {"runId": run_id, "definition": "true"}))["run"]
    flow, step = await _in_force(visit, run)
    is_final = run["status"] not in ("queued", "running")
    members: dict[str, Any] = {
        "run": run,
        "path": f"/ui/runs/{segment(run_id)}",
        "attempts": run["attempts"][-_MAX_ATTEMPTS_SHOWN:],
        "timeline": timeline([run], visit.now_ms) if run["attempts"] else None,
        "flow": flow,
        "step": step,
        "needs": await _needs(visit, run, step),
        "needed_by": [
            other["name"] for other in (flow or {}).get("steps", ()) if run["stepName"] in other.get("needs", ())
        ],
        "question": question(run) if run["needsAttention"] else None,
        "is_final": is_final,
        "is_retryable": is_final and run["effectiveStatus"] in RETRYABLE,
        "output": None if visit.mark is not None else await _output(visit, run),
    }
    return Shown("run.html", members)


async def _output(visit: Visit, run: Mapping[str, Any]) -> dict[str, Any]:
    query = visit.call.query
    chosen = output.number(query, "attempt")
    attempt = chosen or run["attemptCount"]
    place = Place(run["id"], attempt or None)
    text = query.get("find", "")
    kept = {name: query.get(name) for name in ("attempt", "wrap", "find", *STREAMS)}
    pieces = [await output.piece(visit, place, stream, output.number(query, stream)) for stream in STREAMS]
    path = f"/ui/runs/{segment(run['id'])}"
    return {
        "pieces": [
            {
                "piece": piece,
                "earlier": _link(visit, path, kept, {piece.stream: max(0, piece.begin - output.PIECE_BYTES)}),
                "later": _link(visit, path, kept, {piece.stream: piece.next}),
                "whole": visit.link(f"/runs/{segment(run['id'])}/output", stream=piece.stream, attempt=attempt or None),
                "is_followed": piece.seen >= piece.size and not piece.is_end,
                "has_later": piece.seen < piece.size,
            }
            for piece in pieces
        ],
        "attempt": attempt,
        "chosen": chosen,
        "is_wrapped": query.get("wrap") != "0",
        "turn_wrap": _link(visit, path, kept, {"wrap": None if query.get("wrap") == "0" else "0"}),
        "find": text,
        "search": await search(visit, place, text) if text else None,
        "found_at": lambda found: _link(visit, path, kept, {found.stream: found.begin}),
    }


def _link(visit: Visit, path: str, kept: Mapping[str, str | None], other: Mapping[str, object]) -> str:
    return visit.link(path, **{**kept, **other}) + "#output"


async def _in_force(visit: Visit, run: Mapping[str, Any]) -> tuple[Mapping[str, Any] | None, Mapping[str, Any] | None]:
    """The run's flow and step as they are defined now; None where there is none any more."""
    flows = (await visit.ask(names.LIST_FLOWS))["flows"]
    flow = next((flow for flow in flows if flow["name"] == run["flowName"]), None)
    steps = flow["steps"] if flow else ()
    return flow, next((step for step in steps if step["name"] == run["stepName"]), None)


async def _needs(
    visit: Visit, run: Mapping[str, Any], step: Mapping[str, Any] | None
) -> list[tuple[str, Mapping[str, Any] | None]]:
    """What the step needs, each with its newest run up to the run's round."""
    wanted = step.get("needs") if step else None
    if not wanted:
        return []
    asked = {"eventId": run["eventId"], "flow": run["flowName"], "limit": 500}
    runs = (await visit.ask(names.LIST_RUNS, asked))["runs"]
    newest: dict[str, Mapping[str, Any]] = {}
    for other in runs:  # newest first
        if other.get("round", 1) <= run.get("round", 1):
            newest.setdefault(other["stepName"], other)
    return [(name, newest.get(name)) for name in wanted]
