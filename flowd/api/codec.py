"""Domain objects to wire shapes. camelCase, ISO instants and milliseconds are made here and go no further in.

The shapes are those of `flowd_client.wire`: what is unknown is absent, never null.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import msgspec

from flowd.domain.event import Event
from flowd.domain.flow import BrokenPackage, Flow, Snapshot
from flowd.domain.matching import Verdict
from flowd.domain.run import Attempt, Run
from flowd.ports import Accepted, Output, StoredEvent

View = dict[str, Any]

OUTPUT_TAIL_BYTES = 64 * 1024
"""Of each stream, in a single run's view."""

_encoder = msgspec.json.Encoder()
_sorting_encoder = msgspec.json.Encoder(order="sorted")


class _Body(msgspec.Struct):
    payload: msgspec.Raw


_body_decoder = msgspec.json.Decoder(_Body)


def encode(value: object) -> bytes:
    """JSON, with the keys in their order. Raises `RecursionError` when it is nested too deeply."""
    return _encoder.encode(value)


def canonical(value: object) -> bytes:
    """JSON with sorted keys: the same bytes for the same content."""
    return _sorting_encoder.encode(value)


def decode(data: bytes) -> Any:
    """JSON to plain objects. Raises `ValueError` for what is not JSON, `RecursionError` for too deep a nesting."""
    try:
        return msgspec.json.decode(data)
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from None


def instant(at_ms: int) -> str:
    """Milliseconds since the epoch as ISO 8601 UTC.

    >>> instant(1700000000123)
    '2023-11-14T22:13:20.123Z'
    """
    seconds, millis = divmod(at_ms, 1000)
    return f"{_second(seconds)}.{millis:03d}Z"


@lru_cache(maxsize=4096)  # Instants of one page share their seconds, and formatting them is most of a view's cost.
def _second(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"


def run_view(run: Run, output: Sequence[View] | None = None, *, is_truncated: bool = False) -> View:
    """A run; with ``output`` only where a single run was asked for."""
    view: View = {
        "id": run.id,
        "eventId": run.event_id,
        "flowName": run.flow_name,
        "flowVersion": run.flow_version,
        "stepName": run.step_name,
        "runner": run.runner,
        "backend": "flowd",
        "status": run.status.value,
        "processStatus": run.status.value,
        "effectiveStatus": run.effective_status,
        "needsAttention": run.needs_attention,
        "attemptCount": run.attempt_count,
        "packageHash": run.package_hash,
        "createdAt": instant(run.created_at_ms),
        "updatedAt": instant(run.updated_at_ms),
        "attempts": [attempt_view(attempt) for attempt in run.attempts],
    }
    if run.result is not None:
        view["resultStatus"] = run.result.status
        view["result"] = msgspec.Raw(run.result.text.encode())
        view["resultJson"] = run.result.text
    if run.reported_result is not None:
        view["reportedResult"] = msgspec.Raw(run.reported_result.text.encode())
    if run.started_at_ms is not None:
        view["startedAt"] = instant(run.started_at_ms)
    if run.completed_at_ms is not None:
        view["completedAt"] = instant(run.completed_at_ms)
        if run.started_at_ms is not None:
            view["durationMs"] = sum(_took_ms(attempt) for attempt in run.attempts)
    if run.cancel_requested:
        view["cancelRequested"] = True
    _put(view, reason=run.reason, error=run.error, exitCode=run.exit_code, signal=run.signal, replayOf=run.replay_of)
    if output is not None:
        view["output"] = list(output)
        view["outputTruncated"] = is_truncated
    return view


def attempt_view(attempt: Attempt) -> View:
    """One attempt of a run."""
    view: View = {
        "id": attempt.id,
        "attemptNumber": attempt.number,
        "status": attempt.status.value,
        "workerId": attempt.worker_id,
        "startedAt": instant(attempt.started_at_ms),
    }
    _put(
        view,
        reason=attempt.reason,
        error=attempt.error,
        exitCode=attempt.exit_code,
        signal=attempt.signal,
        pid=attempt.pid,
        completedAt=None if attempt.completed_at_ms is None else instant(attempt.completed_at_ms),
        command=list(attempt.command) or None,
        cwd=attempt.cwd,
        leftovers=list(attempt.leftovers) or None,
        survivors=list(attempt.survivors) or None,
        maxRssBytes=attempt.max_rss_bytes,
        cpuMs=attempt.cpu_ms,
    )
    return view


def _took_ms(attempt: Attempt) -> int:
    return 0 if attempt.completed_at_ms is None else max(0, attempt.completed_at_ms - attempt.started_at_ms)


def output_view(output: Output, at_ms: int) -> list[View]:
    """The ends of both streams, as far as they are inline."""
    entries = []
    for kind, data in (("stdout", output.stdout), ("stderr", output.stderr)):
        if data:
            text = data[-OUTPUT_TAIL_BYTES:].decode("utf-8", "replace")
            entries.append({"kind": kind, "text": text, "createdAt": instant(at_ms)})
    return entries


def event_view(event: StoredEvent, runs: Sequence[View] | None = None) -> View:
    """A stored event. ``payload`` and ``raw`` are embedded as they are stored, not parsed again."""
    view: View = {
        "id": event.id,
        "type": event.type,
        "receivedAt": event.received_at,
        "payload": _body_decoder.decode(event.body).payload,
        "raw": msgspec.Raw(event.body),
        "runIds": list(event.run_ids),
        "createdAt": instant(event.created_at_ms),
    }
    _put(view, source=event.source, occurredAt=event.occurred_at)
    if runs is not None:
        view["runs"] = list(runs)
    return view


def dispatch_view(accepted: Accepted, runs: Sequence[Run]) -> View:
    """The answer to a dispatched event; ``runs`` are those of ``accepted``, as they are by now."""
    view: View = {
        "status": "duplicate" if accepted.is_duplicate else "accepted",
        "eventId": accepted.event.id,
        "runIds": [run.id for run in accepted.runs],
        "matched": 0 if accepted.is_duplicate else len(runs),
        "event": event_view(accepted.event),
        "runs": [run_view(run) for run in runs],
    }
    if accepted.is_duplicate:
        view["idempotent"] = True
    if accepted.is_conflict:
        view["conflict"] = True
        view["warning"] = (
            f"Event {accepted.event.id} is stored already with other content; this one was not taken. "
            f"An event's id names its content: send changed content under a new id."
        )
    return view


def snapshot_view(snapshot: Snapshot) -> View:
    """The catalog."""
    return {
        "flows": [flow_view(flow) for flow in snapshot.flows],
        "broken": [broken_view(package) for package in snapshot.broken],
        "shadowed": [{"name": hidden.name, "root": hidden.root, "by": hidden.by} for hidden in snapshot.shadowed],
    }


def broken_view(package: BrokenPackage) -> View:
    """A package that cannot be used."""
    view: View = {
        "name": package.name,
        "root": package.root,
        "origin": package.origin.value,
        "file": package.file,
        "error": package.error,
        "remedy": package.remedy,
        "stale": package.stale,
    }
    _put(view, line=package.line)
    return view


def explain_view(event: Event, verdicts: Sequence[Verdict], snapshot: Snapshot) -> View:
    """What every step says to an event."""
    return {
        "eventId": event.id,
        "type": event.type,
        "matched": sum(verdict.why == "matched" for verdict in verdicts),
        "steps": [_verdict_view(verdict) for verdict in verdicts],
        "broken": [broken_view(package) for package in snapshot.broken],
    }


def flow_view(flow: Flow) -> View:
    """A flow in force."""
    view: View = {
        "name": flow.name,
        "version": flow.version,
        "root": flow.root,
        "origin": flow.origin.value,
        "state": "stale" if flow.stale else "ok",
        "packageHash": flow.package_hash,
        "steps": [],
    }
    for step in flow.steps:
        item: View = {
            "name": step.name,
            "runner": step.runner.value,
            "script": step.script,
            "timeoutMs": step.timeout_ms,
        }
        if step.trigger is not None:
            _put(item, triggerType=step.trigger.type, schema=step.trigger.schema)
        _put(item, cwd=step.cwd)
        view["steps"].append(item)
    _put(view, description=flow.description, warnings=list(flow.warnings) or None)
    return view


def _verdict_view(verdict: Verdict) -> View:
    view: View = {
        "flow": verdict.flow.name,
        "step": verdict.step.name,
        "matches": verdict.why == "matched",
        "reason": verdict.why,
    }
    if verdict.step.trigger is not None:
        _put(view, triggerType=verdict.step.trigger.type, schema=verdict.step.trigger.schema)
    if verdict.errors:
        view["errors"] = [
            {"path": error.path, "keyword": error.keyword, "message": error.message} for error in verdict.errors
        ]
    return view


def _put(view: View, **members: object) -> None:
    """Add the members that are there."""
    for name, value in members.items():
        if value is not None:
            view[name] = value
