"""What a person does to a run: the methods that everybody calls, with a form's fields."""

from collections.abc import Mapping
from typing import Any

from flowd.api.http.call import decoded
from flowd.api.http.responses import HttpError
from flowd.page.visit import Visit, own_path, segment
from flowd_client import methods as names

Fields = Mapping[str, str]


async def resolve(visit: Visit, fields: Fields) -> str:
    """Let a run that asks count as ``status``."""
    run_id = visit.call.values["runId"]
    asked = {"runId": run_id, "attempt": fields.get("attempt")}
    await visit.ask(names.RESOLVE_RUN, {**asked, "status": fields.get("status"), "note": fields.get("note")})
    return back(fields, _run(run_id))


async def answer(visit: Visit, fields: Fields) -> str:
    """Give a run that asks an answer, which is JSON, or else text."""
    run_id = visit.call.values["runId"]
    await visit.ask(names.ANSWER_RUN, {"runId": run_id, "input": _input(fields), "attempt": fields.get("attempt")})
    return back(fields, _run(run_id))


async def cancel_run(visit: Visit, fields: Fields) -> str:
    """End a run."""
    run_id = visit.call.values["runId"]
    await visit.ask(names.CANCEL_RUN, {"runId": run_id})
    return back(fields, _run(run_id))


async def retry_run(visit: Visit, fields: Fields) -> str:
    """Make another attempt of a run."""
    run_id = visit.call.values["runId"]
    await visit.ask(names.RETRY_RUN, {"runId": run_id})
    return back(fields, _run(run_id))


async def pause(visit: Visit, fields: Fields) -> str:
    """Start nothing of a flow, of a step, or of all."""
    await visit.ask(names.PAUSE, {"flow": fields.get("flow"), "step": fields.get("step")})
    return back(fields, "/ui/")


async def resume(visit: Visit, fields: Fields) -> str:
    """End a pause."""
    await visit.ask(names.RESUME_FLOWS, {"flow": fields.get("flow"), "step": fields.get("step")})
    return back(fields, "/ui/")


def back(fields: Fields, otherwise: str) -> str:
    """The page that a form was on, or another one: where to go when it is done."""
    return own_path(fields.get("back"), otherwise)


def _input(fields: Fields) -> Any:
    text = fields.get("input", "").strip()
    try:
        return decoded(text.encode())
    except HttpError:
        return text


def _run(run_id: str) -> str:
    return f"/ui/runs/{segment(run_id)}"
