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


async def show(visit: Visit) -> Shown:
    """The page."""
    recent = await visit.ask(names.LIST_RUNS, {"limit": _RECENT})
    return Shown(
        "now.html",
        {
            "status": await visit.ask(names.STATUS),
            "questions": (await visit.ask(names.ATTENTION, {"limit": _LISTED}))["questions"],
            "running": (await visit.ask(names.LIST_RUNS, {"status": "running", "limit": _LISTED}))["runs"],
            "queue": await visit.ask(names.QUEUE, {"limit": _LISTED}),
            "recent": [run for run in recent["runs"] if run["status"] not in ("running", "queued")],
            "hour": _hour(await visit.last_hour()),
        },
    )


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
