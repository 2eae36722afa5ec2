"""What a person does to a flow: pause it, or let it go on."""

from flowd.page.actions import Fields, back
from flowd.page.visit import Visit, segment
from flowd_client import methods as names


async def pause(visit: Visit, fields: Fields) -> str:
    """Start nothing of the flow, or of one step of it."""
    return await _ask(visit, fields, names.PAUSE)


async def resume(visit: Visit, fields: Fields) -> str:
    """End that."""
    return await _ask(visit, fields, names.RESUME_FLOWS)


async def _ask(visit: Visit, fields: Fields, method: str) -> str:
    flow = visit.call.values["flowName"]
    await visit.ask(method, {"flow": flow, "step": fields.get("step")})
    return back(fields, f"/ui/flows/{segment(flow)}")
