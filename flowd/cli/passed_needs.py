"""Says which needs a replay of named steps passes by, as they did not end well."""

from collections.abc import Iterable, Iterator, Sequence

from flowd.cli import printing
from flowd.cli.session import Session
from flowd_client import requests
from flowd_client.views.catalog import FlowView
from flowd_client.views.event import DispatchView
from flowd_client.views.run import RunView

_WELL = frozenset({"completed", "changed"})


def tell(session: Session, replayed: DispatchView, named: Sequence[str]) -> None:
    """A line for each need of a named step that is not in the new round and whose newest run did not end well."""
    flows = session.view(requests.list_flows()).flows
    runs = session.view(requests.get_event(replayed.event_id)).runs
    for line in passed(flows, runs, [run.id for run in replayed.runs], named):
        printing.note(line)


def passed(
    flows: Iterable[FlowView], runs: Sequence[RunView], new: Sequence[str], named: Sequence[str]
) -> Iterator[str]:
    """The lines.

    Args:
        runs: All of the event, the newest first.
        new: The ids of those that the replay has made.
        named: As on the command line: ``step`` or ``flow/step``.
    """
    needs = {(flow.name, step.name): step.needs for flow in flows for step in flow.steps}
    before = {(run.flow_name, run.step_name): run for run in reversed(runs) if run.id not in new}
    started = [run for run in reversed(runs) if run.id in new]
    beside = {(run.flow_name, run.step_name) for run in started}
    for run in started:
        flow, step = run.flow_name or "", run.step_name or ""
        if step not in named and f"{flow}/{step}" not in named:
            continue
        for need in needs.get((flow, step), ()):
            end = before.get((flow, need))
            if end is not None and (flow, need) not in beside and end.effective_status not in _WELL:
                yield f"flowd: {flow}/{step} starts although {need} {_past(end)}, which it needs ({end.id})."


def _past(run: RunView) -> str:
    status = run.effective_status
    return status if status == "failed" else f"was {status}" if status in ("canceled", "skipped") else f"is {status}"
