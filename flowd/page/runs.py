"""*Runs*: all of them, newest first, as many as one scrolls to. What is looked for is in the address."""

import asyncio
import re
from collections.abc import Mapping
from typing import Any

from flowd.api.shapes.runs import ListRuns
from flowd.domain.errors import InvalidParamsError
from flowd.page.visit import Visit
from flowd.page.wrapping import Shown
from flowd_client import methods as names

_PAGE = 100
_WITHIN_S = 0.1
"""A page of what is rare may be short: so long the next ones are asked for, too. The reader may go on from there."""

_OFFERED = ("text", "flow", "status", "step", "reason", "since", "until", "label", "eventId")

FILTERS = tuple(name for name in _OFFERED if name in ListRuns.__struct_encode_fields__)
"""Parameters of the method that come from the address as they are; of ``label`` there may be several, with spaces in
between."""

_BETWEEN_LABELS = re.compile(r"\s+(?=[^\s=]+=)")

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

REASONS = ("exit", "timeout", "signal", "needs_not_met", "interrupted", "out_of_memory")
"""Offered while one types; any other may be looked for."""


async def show(visit: Visit) -> Shown:
    """The page."""
    query = visit.call.query
    asked = {name: query.get(name, "").strip() for name in FILTERS}
    runs: list[Any] = []
    more = problem = ""
    try:
        runs, more = await _page(visit, asked, query.get("cursor", ""))
    except InvalidParamsError as error:
        problem = error.message  # beside what was typed, so that it can be put right
    members = {
        "runs": runs,
        "problem": problem,
        "asked": asked,
        "chosen": [(name, value, _without(visit, asked, name)) for name, value in asked.items() if value],
        "statuses": STATUSES,
        "reasons": REASONS,
        "cursor": query.get("cursor", ""),
        "more": visit.link("/ui/runs", **asked, cursor=more) if more else "",
    }
    return Shown("runs.html", members, 400 if problem else 200)


async def _page(visit: Visit, asked: Mapping[str, str], cursor: str) -> tuple[list[Any], str]:
    """Runs, and where the next page begins; empty where there is none."""
    wanted: dict[str, object] = {**asked, "limit": _PAGE}
    if "label" in asked:
        wanted["label"] = labels_in(asked["label"]) or None
    give_up_at_s = asyncio.get_running_loop().time() + _WITHIN_S
    runs: list[Any] = []
    while True:
        page = await visit.ask(names.LIST_RUNS, {**wanted, "cursor": cursor})
        runs += page["runs"]
        cursor = page.get("nextCursor", "")
        if not cursor or len(runs) >= _PAGE or asyncio.get_running_loop().time() >= give_up_at_s:
            return runs, cursor


def _without(visit: Visit, asked: Mapping[str, str], name: str) -> str:
    return visit.link("/ui/runs", **{**asked, name: ""})


def labels_in(text: str) -> list[str]:
    """Labels that a person wrote one after another.

    >>> labels_in("repo=a/b env=us west"), labels_in(" "), labels_in("=x")
    (['repo=a/b', 'env=us west'], [], ['=x'])
    """
    return [one for one in _BETWEEN_LABELS.split(text.strip()) if one]
