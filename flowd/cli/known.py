"""An event that is known already and was sent again: how it is by now, whatever was replayed of it."""

from typing import Any

from flowd.cli.session import Session
from flowd_client import requests
from flowd_client.views.event import read_dispatch
from flowd_client.views.run import read_runs


def as_it_is_now(session: Session, response: dict[str, Any]) -> dict[str, Any]:
    """The response to a duplicate with the newest run of each step, where the daemon tells the first ones: those are
    what a client can rely on, and these are what became of the event. Its event has the ids of all."""
    known = session.ask(requests.get_event(response["eventId"]))
    # The first ones may be more than are told of an event at once.
    runs = *read_dispatch(response).runs, *reversed(read_runs(known))
    newest = {(run.flow_name, run.step_name): run for run in runs}
    return {
        **response,
        "event": {**response["event"], "runIds": known["event"]["runIds"]},
        "runIds": [run.id for run in newest.values()],
        "runs": [run.raw for run in newest.values()],
    }
