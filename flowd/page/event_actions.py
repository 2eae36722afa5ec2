"""What a person does to an event: the methods that everybody calls, with a form's fields."""

from collections.abc import Mapping
from typing import Any

from flowd.api.http.responses import HttpError
from flowd.domain.errors import FlowdError
from flowd.page.actions import Fields, back
from flowd.page.rounds import Round, has_failed, read
from flowd.page.visit import Visit, segment
from flowd_client import methods as names
from flowd_client import wire

_ALREADY = ("run_active", "needs_active")
"""Where one run needs another, the retry of that one has put it back already."""


async def replay(visit: Visit, fields: Fields) -> str:
    """New runs for the event: of all its steps, or with ``missing`` of those that it has not started yet."""
    event_id = visit.call.values["eventId"]
    missing = "true" if fields.get("missing") else None
    await visit.ask(names.REPLAY, {"eventId": event_id, "missing": missing})
    return event_path(event_id)


async def replay_from(visit: Visit, fields: Fields) -> str:
    """New runs of a step and of all that need it."""
    event_id, step = visit.call.values["eventId"], fields.get("step")
    if not step:
        raise HttpError("bad_request", "The form does not say from which step on.")
    await visit.ask(names.REPLAY, {"eventId": event_id, "from": [step]})
    return event_path(event_id)


async def retry_failed(visit: Visit, fields: Fields) -> str:
    """Another attempt of all that failed in the rounds that the form names: those that the person has seen.

    Raises:
        FlowdError: As the first retry was refused, where none was taken.
    """
    retried, refused = 0, None
    for one in read(fields.get("rounds")):
        for run in await _failed_in(visit, one, is_alone=bool(fields.get("alone"))):
            try:
                await visit.ask(names.RETRY_RUN, {"runId": run["id"]})
                retried += 1
            except FlowdError as error:
                refused = refused or (None if error.slug in _ALREADY else error)
    if not retried and refused is not None:
        raise refused
    return back(fields, event_path(visit.call.values["eventId"]))


async def _failed_in(visit: Visit, wanted: Round, *, is_alone: bool) -> list[Mapping[str, Any]]:
    """The failed runs of a round, oldest first; unless it is meant alone, also those of earlier ones whose steps it has
    no run of."""
    asked = {"eventId": wanted.event_id, "flow": wanted.flow, "limit": wire.MAX_LIMIT}
    newest: dict[str, Mapping[str, Any]] = {}
    cursor = None
    while True:
        page = await visit.ask(names.LIST_RUNS, {**asked, "cursor": cursor})
        for run in page["runs"]:  # newest first
            number = run.get("round", 1)
            if number == wanted.number or (number < wanted.number and not is_alone):
                newest.setdefault(run["stepName"], run)
        cursor = page.get("nextCursor")
        if cursor is None:
            return [run for run in reversed(newest.values()) if has_failed(run)]


async def cancel(visit: Visit, fields: Fields) -> str:
    """End all that goes on of the event and of what its runs caused."""
    event_id = visit.call.values["eventId"]
    await visit.ask(names.CANCEL_EVENT, {"eventId": event_id, "tree": "true"})
    return back(fields, event_path(event_id))


def event_path(event_id: str) -> str:
    """The page of an event."""
    return f"/ui/events/{segment(event_id)}"
