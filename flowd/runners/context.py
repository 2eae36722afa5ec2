"""Writes what a step reads on stdin: the flow, the event and the run, as one JSON document."""

from flowd.domain import questions
from flowd.domain.definition import Definition
from flowd.domain.instants import instant
from flowd.domain.launching import SpawnError, StepContext
from flowd.domain.needs import NeedEnd
from flowd.domain.people import Answer
from flowd.domain.timing import Burst
from flowd.formats.typed import Raw, to_json


def needs_of(context: StepContext) -> dict[str, object]:
    """How those steps ended that a step needs, by their names; results as they are stored."""
    return {end.step_name: _need(end) for end in context.needs}


def _need(end: NeedEnd) -> dict[str, object]:
    told: dict[str, object] = {"runId": end.run_id, "status": end.status}
    if end.result is not None:
        told["result"] = Raw(end.result.encode())
    return told


def document(
    definition: Definition,
    context: StepContext,
    *,
    launched_by: str,
    socket_path: str | None = None,
    backend_url: str | None = None,
) -> bytes:
    """The context as JSON, indented by two spaces, with a line feed at its end.

    The event goes in as it is stored, without being parsed again; a payload of megabytes costs milliseconds. What is
    unknown is left out, never null.

    Args:
        launched_by: Named to the step as ``runtime.launchedBy``.
        socket_path: The daemon's socket.
        backend_url: The workspace backend that the daemon was told of.

    Raises:
        SpawnError: The flow's folder has a name that is not text.
    """
    flow: dict[str, object] = {
        "name": definition.flow_name,
        "version": definition.flow_version,
        "root": definition.flow_root,
        "step": definition.step_name,
    }
    if definition.config is not None:
        flow["config"] = definition.config
    flow["event"] = Raw(context.event_json)
    if context.needs:
        flow["needs"] = needs_of(context)
    if context.burst is not None:
        flow["debounced"] = _debounced(context.burst)
    runtime: dict[str, object] = {
        "eventId": context.event_id,
        "runId": context.run_id,
        "attemptId": context.attempt_id,
        "attempt": context.attempt_number,
        "replay": context.is_replay,
        "launchedBy": launched_by,
    }
    if context.traceparent:
        runtime["traceparent"] = context.traceparent
    if context.round_dir:
        runtime["roundDir"] = context.round_dir
    if context.answer is not None:
        runtime["answer"] = _answer(context.answer)
    if socket_path:
        runtime["socket"] = socket_path
    if backend_url:
        runtime["workspaceBackendUrl"] = backend_url
    try:
        return to_json({"flow": flow, "runtime": runtime}, indent=2) + b"\n"
    except UnicodeEncodeError as error:
        raise SpawnError(
            f"{definition.label}: the context has text that is not Unicode, most likely the name of the folder"
            f" {definition.flow_root!r}; rename it"
        ) from error


def _debounced(burst: Burst) -> dict[str, object]:
    told: dict[str, object] = {"eventIds": list(burst.event_ids), "count": burst.count}
    return {**told, "truncated": True} if burst.is_truncated else told


def _answer(said: Answer) -> dict[str, object]:
    given = {} if said.input_json is None else {"input": Raw(said.input_json.encode())}
    return {**given, "by": questions.by_members(said.by), "at": instant(said.at_ms)}
