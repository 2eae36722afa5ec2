"""*Now*: what asks for a person, what runs, and what waits and why."""

from flowd.page.site import Shown
from flowd.page.visit import Visit
from flowd_client import methods as names

_LISTED = 50
_RECENT = 15


async def show(visit: Visit) -> Shown:
    """The page."""
    status = await visit.ask(names.STATUS)
    asking = await visit.ask(names.ATTENTION, {"limit": _LISTED})
    running = await visit.ask(names.LIST_RUNS, {"status": "running", "limit": _LISTED})
    queue = await visit.ask(names.QUEUE, {"limit": _LISTED})
    recent = await visit.ask(names.LIST_RUNS, {"limit": _RECENT})
    return Shown(
        "now.html",
        {
            "status": status,
            "questions": asking["questions"],
            "running": running["runs"],
            "queue": queue,
            "recent": [run for run in recent["runs"] if run["status"] not in ("running", "queued")],
        },
    )
