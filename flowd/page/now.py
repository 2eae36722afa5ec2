"""*Now*: what asks for a person, what runs, what waits and why, and how the last hour went."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from flowd.domain.pulse import Minute, mean_ms
from flowd.page import sparkline
from flowd.page.visit import Visit
from flowd.page.wrapping import Shown
from flowd_client import methods as names

_LISTED = 50
_RECENT = 15
_LOOKED_AT = 100
"""Of each kind: what was made before so many others and ends now is not found."""
_FINAL = ("completed", "failed", "canceled")


async def show(visit: Visit) -> Shown:
    """The page."""
    known = await visit.ask(names.HOSTS)
    return Shown(
        "now.html",
        {
            "status": await visit.ask(names.STATUS),
            "hosts": known["hosts"],
            "packages": known.get("packages"),
            "questions": (await visit.ask(names.ATTENTION, {"limit": _LISTED}))["questions"],
            "running": (await visit.ask(names.LIST_RUNS, {"status": "running", "limit": _LISTED}))["runs"],
            "queue": await visit.ask(names.QUEUE, {"limit": _LISTED}),
            "recent": await _ended_last(visit),
            "hour": _hour(await visit.last_hour()),
        },
    )


async def _ended_last(visit: Visit) -> list[Any]:
    """The latest ends among the newest runs of each kind: what was made last may be a thousand that wait."""
    pages = [await visit.ask(names.LIST_RUNS, {"status": status, "limit": _LOOKED_AT}) for status in _FINAL]
    ended = [run for page in pages for run in page["runs"]]
    return sorted(ended, key=lambda run: str(run.get("completedAt", run["updatedAt"])), reverse=True)[:_RECENT]


def _hour(minutes: Sequence[Minute]) -> Mapping[str, Any] | None:
    """The last hour in figures and small charts; None where nothing ended in it."""
    ended = sum(minute.ended for minute in minutes)
    if not ended:
        return None
    mean = mean_ms(minutes)
    bad = sum(minute.bad for minute in minutes)
    charts: dict[str, Markup] = {
        "throughput": sparkline.throughput(minutes),
        "durations": sparkline.durations(minutes),
        "failures": sparkline.failures(minutes),
    }
    return {"ended": ended, "bad": bad, "mean_ms": None if mean is None else round(mean), **charts}
