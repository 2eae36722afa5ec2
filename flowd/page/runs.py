"""*Runs*: all of them, newest first, as many as one scrolls to."""

from flowd.page.site import Shown
from flowd.page.visit import Visit
from flowd_client import methods as names

_PAGE = 100

FILTERS = ("flow", "status", "eventId")
"""Parameters of the method that come from the address as they are."""

STATUSES = (
    "queued",
    "running",
    "completed",
    "changed",
    "skipped",
    "blocked",
    "needs_intervention",
    "failed",
    "canceled",
)


async def show(visit: Visit) -> Shown:
    """The page."""
    query = visit.call.query
    asked = {name: query.get(name, "") for name in FILTERS}
    page = await visit.ask(names.LIST_RUNS, {**asked, "limit": _PAGE, "cursor": query.get("cursor")})
    more = page.get("nextCursor")
    members = {
        "runs": page["runs"],
        "asked": asked,
        "statuses": STATUSES,
        "cursor": query.get("cursor", ""),
        "more": visit.link("/ui/runs", **asked, cursor=more) if more else "",
    }
    return Shown("runs.html", members)
