"""What a person does to an event: the methods that everybody calls, with a form's fields."""

from flowd.api.http.responses import HttpError
from flowd.domain.errors import FlowdError
from flowd.page.actions import Fields, back
from flowd.page.event import has_failed, newest
from flowd.page.visit import Visit, segment
from flowd_client import methods as names

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
    """Another attempt of all that failed of the event and of what its runs caused.

    Raises:
        FlowdError: As the first retry was refused, where none was taken.
    """
    event_id = visit.call.values["eventId"]
    cursor, retried, refused = None, 0, None
    while True:
        asked = {"eventId": event_id, "tree": "true", "limit": 500, "cursor": cursor}
        tree = (await visit.ask(names.GET_EVENT, asked))["tree"]
        for run in [run for event in tree["events"] for run in newest(event["runs"]) if has_failed(run)]:
            try:
                await visit.ask(names.RETRY_RUN, {"runId": run["id"]})
                retried += 1
            except FlowdError as error:
                refused = refused or (None if error.slug in _ALREADY else error)
        cursor = tree.get("nextCursor")
        if cursor is None:
            break
    if not retried and refused is not None:
        raise refused
    return back(fields, event_path(event_id))


async def cancel(visit: Visit, fields: Fields) -> str:
    """End all that goes on of the event and of what its runs caused."""
    event_id = visit.call.values["eventId"]
    await visit.ask(names.CANCEL_EVENT, {"eventId": event_id, "tree": "true"})
    return back(fields, event_path(event_id))


def event_path(event_id: str) -> str:
    """The page of an event."""
    return f"/ui/events/{segment(event_id)}"
