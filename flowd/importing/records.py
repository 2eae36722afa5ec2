"""Translates one record of the reference system into what flowd stores. Pure.

Both of its stores are read to records with the members of the wire (``eventId``, ``resultJson``, ``startedAt`` …).
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from flowd.api.json import canonical, encode, instant
from flowd.domain import event as events
from flowd.domain import ids
from flowd.domain.errors import InvalidEventError
from flowd.domain.outcome import Outcome
from flowd.domain.result import FlowResult, parse
from flowd.domain.run import Attempt, ProcessStatus, Reason
from flowd.domain.stored import Output, new_event
from flowd.store.sql.imports import PastEvent, PastRun
from flowd_client.views.run import result_payload

PACKAGE_HASH = "imported"
UNKNOWN = "unknown"
_LIKE_AN_ATTEMPT = re.compile(r":\d+$")

_KEPT_ON_FAILURE = frozenset({"failed", "blocked", "needs_intervention"})
_ASSIGNMENT = re.compile(r"(--setenv=[^=]+|-E[^=]+)=.*", re.DOTALL)


class BadRecordError(Exception):
    """A record that cannot be taken over; the message says which and why."""


def read_event(record: Mapping[str, Any], runs: Sequence[PastRun]) -> PastEvent:
    """An event, with its runs as they were read.

    Raises:
        BadRecordError: It cannot be taken over.
    """
    label = f"event {str(record.get('id'))[:100]!r}"
    raw = record.get("raw")
    members = dict(raw) if isinstance(raw, dict) else {}
    for name in ("id", "type", "source", "occurredAt", "receivedAt", "payload"):
        if name not in members and record.get(name) is not None:
            members[name] = record[name]
    created_at_ms = _instant_ms(record, "createdAt", label) or _instant_ms(members, "receivedAt", label)
    if created_at_ms is None:
        raise BadRecordError(f"{label} has neither createdAt nor receivedAt")
    try:
        event = events.normalise(members, now=instant(created_at_ms))
        new = new_event(event, encode(event.members), canonical)
    except (InvalidEventError, UnicodeEncodeError, RecursionError) as error:
        raise BadRecordError(f"{label} is not an event: {error}") from error
    return PastEvent(new, created_at_ms, runs)


def read_run(record: Mapping[str, Any], event_id: str) -> PastRun:
    """A run.

    Raises:
        BadRecordError: A member that it needs is missing, or means nothing.
    """
    run_id = _text(record, "id", "run")
    label = f"run {run_id[:100]!r}"
    if _LIKE_AN_ATTEMPT.search(run_id):
        raise BadRecordError(f"{label} has an id that an attempt of another run would have")
    flow, step = _text(record, "flowName", label), _text(record, "stepName", label)
    created_at_ms = _instant_ms(record, "createdAt", label) or _instant_ms(record, "startedAt", label)
    if created_at_ms is None:
        raise BadRecordError(f"{label} has neither createdAt nor startedAt")
    started_at_ms, completed_at_ms = (_instant_ms(record, name, label) for name in ("startedAt", "completedAt"))
    outcome = _outcome(record, label)
    output = _output(record)
    if started_at_ms is None and (output.stdout or output.stderr):
        started_at_ms = created_at_ms
    return PastRun(
        id=run_id,
        event_id=event_id,
        flow_name=flow,
        flow_version=_version(record),
        step_name=step,
        package_hash=PACKAGE_HASH,
        runner=record["runner"] if isinstance(record.get("runner"), str) else UNKNOWN,
        replay_of=ids.run_id(event_id, flow, step) if run_id.endswith("_replay") else None,
        outcome=outcome,
        created_at_ms=created_at_ms,
        updated_at_ms=_instant_ms(record, "updatedAt", label) or completed_at_ms or started_at_ms or created_at_ms,
        started_at_ms=started_at_ms,
        completed_at_ms=completed_at_ms,
        attempt=None if started_at_ms is None else _attempt(record, run_id, outcome, started_at_ms, completed_at_ms),
        output=output,
    )


def _outcome(record: Mapping[str, Any], label: str) -> Outcome:
    """How a run ended. One that was running or queued counts as interrupted, and is never started here."""
    word = record.get("processStatus", record.get("status"))
    error = record["error"] if isinstance(record.get("error"), str) and record["error"] else None
    said = _said(record)
    match word:
        case "completed":
            return Outcome(ProcessStatus.COMPLETED, error=error, result=said)
        case "failed":
            # A success that hangs on a failed run would look like one to the reference system's client.
            stands = said is None or said.status in _KEPT_ON_FAILURE
            return Outcome(
                ProcessStatus.FAILED,
                error=error,
                result=said if stands else None,
                reported_result=None if stands else said,
            )
        case "canceled":
            return Outcome(ProcessStatus.CANCELED, Reason.CANCELED, error, reported_result=said)
        case "queued" | "running":
            text = f"The run was {word} in the reference system when it was imported; how it ended is not known"
            return Outcome(ProcessStatus.FAILED, Reason.INTERRUPTED, error or text, reported_result=said)
        case _:
            raise BadRecordError(f"{label} has the unknown status {str(word)[:40]!r}")


def _said(record: Mapping[str, Any]) -> FlowResult | None:
    """The step's own result, out of the runner's report around it."""
    given = {"result": record["resultPayload"]} if "resultPayload" in record else record
    payload = result_payload(given)
    if not isinstance(payload, dict):
        return None
    try:
        said = parse(json.dumps(payload).encode())
    except (ValueError, RecursionError):
        return None
    return said if isinstance(said, FlowResult) else None


def _version(record: Mapping[str, Any]) -> int | float:
    version = record.get("flowVersion")
    is_number = isinstance(version, int | float) and not isinstance(version, bool) and math.isfinite(version)
    return version if is_number else 0  # type: ignore[return-value]


def _attempt(
    record: Mapping[str, Any], run_id: str, outcome: Outcome, started_at_ms: int, completed_at_ms: int | None
) -> Attempt:
    executor = record.get("executor")
    return Attempt(
        id=run_id,
        run_id=run_id,
        number=1,
        status=outcome.status,
        worker_id=f"imported:{executor}" if isinstance(executor, str) and executor else "imported",
        started_at_ms=started_at_ms,
        completed_at_ms=completed_at_ms,
        reason=outcome.reason,
        error=outcome.error,
        command=_command(record.get("commandJson")),
    )


def _command(value: object) -> tuple[str, ...]:
    """The runner's command line, without the values of the environment that systemd-run was given on it.

    >>> _command('["systemd-run", "--setenv=TOKEN=secret", "bun"]')
    ('systemd-run', '--setenv=TOKEN=…', 'bun')
    """
    try:
        words = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return ()
    if isinstance(words, dict):
        words = [words.get("command"), *(words.get("args") or ())]
    if not isinstance(words, list):
        return ()
    return tuple(_ASSIGNMENT.sub(r"\1=…", word) for word in words if isinstance(word, str))


def _output(record: Mapping[str, Any]) -> Output:
    streams = {"stdout": b"", "stderr": b""}
    for name in streams:
        if isinstance(record.get(name), str):
            streams[name] = record[name].encode("utf-8", "replace")
    entries = record.get("output")
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict) and entry.get("kind") in streams and isinstance(entry.get("text"), str):
            streams[entry["kind"]] += entry["text"].encode("utf-8", "replace")
    stdout, stderr = streams["stdout"], streams["stderr"]
    return Output(stdout, stderr, len(stdout), len(stderr))


def _text(record: Mapping[str, Any], name: str, label: str) -> str:
    value = record.get(name)
    if not isinstance(value, str) or not value or "\0" in value:
        raise BadRecordError(f"{label} has no {name}")
    return value


def _instant_ms(record: Mapping[str, Any], name: str, label: str) -> int | None:
    value = record.get(name)
    if value is None or value == "":
        return None
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e14:
        return int(value)
    try:
        parsed = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise BadRecordError(f"{label} has a {name} that is not an instant: {str(value)[:40]!r}") from None
    return round((parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp() * 1000)
