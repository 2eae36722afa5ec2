"""What is allowed in a schedule, and may not be what its author means. Told where somebody asks for a check."""

from collections.abc import Iterator

from flowd.domain.event import Event
from flowd.domain.finding import Finding
from flowd.domain.flow import Flow, Snapshot
from flowd.domain.matching import judge
from flowd.domain.schedule import Schedule


def schedule_doubts(snapshot: Snapshot, flow: Flow) -> Iterator[Finding]:
    """Findings about the schedules of a flow whose payload no step takes, so that each slot starts nothing."""
    for index, one in enumerate(flow.schedules):
        refused = _refusal(snapshot, flow, one)
        if refused is not None:
            message = f'schedule "{one.name}": its events start nothing, as {refused}'
            yield flow.doubt(("schedules", index, "payload"), "starts-nothing", message)


def _refusal(snapshot: Snapshot, flow: Flow, one: Schedule) -> str | None:
    """None also where a check is too costly to be made here."""
    verdicts = judge(snapshot, Event("slot", one.type, None, None, "", one.payload, {}))
    refusing = [verdict for verdict in verdicts if verdict.why == "schema" and verdict.errors]
    if not refusing or len(refusing) < len(verdicts):
        return None
    step, error = refusing[0], refusing[0].errors[0]
    whose = step.step.name if step.flow.name == flow.name else f"{step.flow.name}/{step.step.name}"
    return f'its payload does not fit the schema of step "{whose}": {error.message} ({error.path})'
