"""What a person does to a run: the methods that everybody calls, with a form's fields."""

from collections.abc import Mapping
from typing import Any

from flowd.api.http.call import decoded
from flowd.api.http.responses import HttpError
from flowd.page.visit import Visit, own_path, segment
from flowd_client import methods as names

Fields = Mapping[str, str]


async def approve(visit: Visit, fields: Fields) -> str:
    """Let a run that asks count as completed, with a note if there is one."""
    return await _resolve(visit, fields, "completed")


async def reject(visit: Visit, fields: Fields) -> str:
    """Let a run that asks count as failed, with a note if there is one."""
    return await _resolve(visit, fields, "failed")


async def _resolve(visit: Visit, fields: Fields, status: str) -> str:
    run_id = visit.call.values["runId"]
    said = {"status": status, "note": fields.get("text", "").strip(), "attempt": fields.get("attempt")}
    await visit.ask(names.RESOLVE_RUN, {"runId": run_id, **said})
    return back(fields, _run(run_id))


async def answer(visit: Visit, fields: Fields) -> str:
    """Give a run that asks an answer, which is JSON, or else text; or nothing but the wish that it goes on."""
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
    text = fields.get("text", "").strip()
    try:
        return decoded(text.encode())
    except HttpError:
        return text


def _run(run_id: str) -> str:
    return f"/ui/runs/{segment(run_id)}"
