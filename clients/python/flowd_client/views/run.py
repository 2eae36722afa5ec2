"""A run as a client sees it. Also reads the records of the reference server, which say less and wrap the result."""

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from typing import Any

from flowd_client.views.frozen import frozen
from flowd_client.views.reading import (
    Members,
    Page,
    called,
    embedded_json,
    inner,
    members,
    number,
    page,
    read,
    records,
    text,
)
from flowd_client.wire import PROCESS_STATUSES, RESULT_STATUSES

FINAL_STATUSES = frozenset(PROCESS_STATUSES) - {"queued", "running"}
ATTENTION_STATUSES = frozenset({"blocked", "needs_intervention"})


@frozen
class OutputEntry:
    """A piece of output. ``kind`` is ``stdout`` or ``stderr``."""

    kind: str = field(metadata=called("kind", default="stdout"))
    text: str
    created_at: datetime | None = None


@frozen
class AttemptView:
    """One process tree of a run.

    Attributes:
        reason: Why it ended other than well: ``exit``, ``signal``, ``timeout``, ``spawn`` …
        why: The same in one line for people, as `RunView.why`.
        leftovers: ``"<pid> <command>"`` of processes that the step left behind and flowd ended.
        survivors: ``"<pid> <command>"`` of processes that could not be ended.
        duration_ms: How long it took, by a clock that nobody sets. None while it runs, and where nobody saw its end.
        result: What it had said; there once another attempt has followed. So is ``resolution``.
        answer: What it was told, as `RunView.answer`.
        host: Where it ran, in a store that hosts share; None in one of the daemon's own.
    """

    id: str = field(metadata=called("id", "attemptId"))
    attempt_number: int = field(metadata=called("attemptNumber", default=1))
    status: str = field(metadata=called("status", default="unknown"))
    worker_id: str | None
    started_at: datetime | None
    completed_at: datetime | None
    reason: str | None
    error: str | None
    exit_code: int | None
    signal: int | None
    pid: int | None
    command: tuple[str, ...]
    cwd: str | None
    leftovers: tuple[str, ...]
    survivors: tuple[str, ...]
    max_rss_bytes: int | None
    cpu_ms: int | None
    package_hash: str | None
    duration_ms: int | None
    result_status: str | None
    result: Members | None = field(hash=False)
    resolution: Members | None = field(hash=False)
    answer: Members | None = field(hash=False)
    host: str | None = None
    why: str | None = None


@frozen
class RunView:
    """The durable promise to execute one step for one event.

    Attributes:
        status: The same as ``effective_status``.
        process_status: What the daemon saw: queued, running, completed, failed, canceled.
        result_status: What the step said: skipped, completed, changed, needs_intervention, blocked, failed; or None.
        effective_status: ``result_status`` if there is one, else ``process_status``, else ``unknown``.
        needs_attention: Whether a person is wanted: blocked or needs_intervention, and nobody has answered.
        reason: Why it ended other than well; None while it goes on or when it went well.
        why: The same in one line for people: what its step says of it, or printed last, and what the daemon saw.
        result_payload: The whole FLOW_RESULT; None when there is none.
        reported_result: What the step said and does not count: a success that a failed process printed, or a question
            that a person has answered (``resolution``).
        resolution: How a person has put its end right: ``{"status", "note", "by": {"via", "uid", "name"}, "at"}``.
        answer: What a person gave it for its next attempts: ``{"input", "by", "at"}``.
        waiting_for: What keeps it queued: ``{"needs": [step, …]}``, ``{"person": run_id}``,
            ``{"until": instant, "why": …}`` with ``delay``, ``notBefore``, ``debounce`` or ``retry``, and for a retry
            with the number of its ``"attempt"``, ``"of"`` so many,
            ``{"key": {"group", "key": [value, …], "holder": run_id, "behind"}}``,
            with ``"asks": run_id`` where the holder waits for a person's answer to that run, ``{"package": name}``, or
            ``{"host": {"labels": [label, …], "hosts"}}`` where so many hosts have the labels that its step requires,
            with ``"name"`` where that host alone has the folder of its round; None where that is nothing but a place.
        round: Which dispatch (1) or replay of its event made it.
        package_hash: Of the flow package that its last attempt ran with.
        definition: What its last attempt was made with: ``{"root", "script", "runner", "timeoutMs", …}``; None where
            that was not asked for.
        attempts_before: Attempts that do not count against its step's ``maxAttempts``: those before a person's retry.
        labels: What it is found by, as its step declared them when it was made.
        progress: How far its running step says that it is: ``{"percent": 0 to 100, "message": text}``, each where it
            says that; empty where it says nothing, and once it has ended.
        output: The last 64 KiB of each stream; empty in lists.
        started_at: When its first attempt began.
        completed_at: When its last attempt ended.
        duration_ms: How long its attempts took together; the time between them does not count. None until it ended,
            and where nobody saw how long any of them took.
        raw: The record as it came, with members that this version does not know.
    """

    id: str = field(metadata=called("id", "runId"))
    event_id: str | None
    flow_name: str | None
    flow_version: float | None
    step_name: str | None
    runner: str | None
    backend: str | None
    process_status: str | None
    result_status: str | None
    effective_status: str
    needs_attention: bool
    reason: str | None
    error: str | None
    result_payload: Any = field(hash=False)
    reported_result: Members | None = field(hash=False)
    resolution: Members | None = field(hash=False)
    answer: Members | None = field(hash=False)
    attempt_count: int
    attempts: tuple[AttemptView, ...]
    output: tuple[OutputEntry, ...]
    output_truncated: bool
    exit_code: int | None
    signal: int | None
    replay_of: str | None
    cancel_requested: bool
    waiting_for: Members | None
    round: int = field(metadata=called("round", default=1))
    package_hash: str | None
    created_at: datetime | None
    started_at: datetime | None
    completed_at: datetime | None = field(metadata=called("finishedAt", "completedAt"))
    updated_at: datetime | None
    duration_ms: int | None
    labels: Mapping[str, str] = field(hash=False)
    progress: Mapping[str, Any] = field(hash=False)
    definition: Members | None = field(hash=False)
    attempts_before: int = field(metadata=called("attemptsBefore", default=0))
    why: str | None
    raw: Members = field(repr=False, compare=False)

    @property
    def status(self) -> str:
        """What counts: what the step said, else what the daemon saw."""
        return self.effective_status

    @property
    def message(self) -> str | None:
        """What the step says in its result for people, or a person in the place of it; None where it says nothing."""
        return text(members(self.result_payload).get("message"))

    @property
    def latest_output(self) -> OutputEntry | None:
        """The last piece of output, or None."""
        return self.output[-1] if self.output else None

    @property
    def is_final(self) -> bool:
        """Nothing happens to the run by itself any more."""
        return self.process_status in FINAL_STATUSES

    @property
    def is_replay(self) -> bool:
        """Whether a replay made it."""
        return self.replay_of is not None or self.id.endswith("_replay")


def read_run(value: object) -> RunView:
    """A run from its record, or from a response that holds one as ``run``. Understands the reference server's."""
    source = inner(value, "run")
    payload = result_payload(source)
    result_status = _result_status(source, payload)
    process_status = text(source.get("processStatus")) or text(source.get("status"))
    effective = result_status or text(source.get("effectiveStatus")) or process_status or "unknown"
    attempts = tuple(read(AttemptView, record) for record in records(source.get("attempts")))
    return read(
        RunView,
        source,
        process_status=process_status,
        result_status=result_status,
        effective_status=effective,
        needs_attention=effective in ATTENTION_STATUSES,
        result_payload=payload,
        attempt_count=_attempt_count(source, attempts),
        attempts=attempts,
        output=_output(source),
        labels=_labels(source),
        progress=members(source.get("progress")),
    )


def result_payload(source: Members) -> Any:
    """What the step said. The reference server sends a report ``{flow, step, result}`` around it, which is taken off.

    >>> result_payload({"resultJson": '{"flow": "f", "step": "s", "result": {"status": "blocked"}}'})
    {'status': 'blocked'}
    """
    payload = source["result"] if "result" in source else embedded_json(source.get("resultJson"))
    if isinstance(payload, dict) and _valid_status(payload) is None and {"flow", "step", "result"} <= payload.keys():
        return payload["result"]
    return payload


def _valid_status(payload: object) -> str | None:
    status = payload.get("status") if isinstance(payload, dict) else None
    return status if status in RESULT_STATUSES else None


def _result_status(source: Members, payload: object) -> str | None:
    said = _valid_status(payload) or text(source.get("resultStatus"))
    if said is not None or "processStatus" in source:
        return said
    # A record without processStatus is the reference server's; its client takes the process's word then.
    status = source.get("status")
    return status if status in RESULT_STATUSES else None


def _attempt_count(source: Members, attempts: tuple[AttemptView, ...]) -> int:
    for key in ("attemptCount", "attempts"):
        count = number(source.get(key))
        if count is not None:
            return count
    return len(attempts)


def _labels(source: Members) -> Mapping[str, str]:
    found = members(source.get("labels"))
    return {name: value for name, value in found.items() if isinstance(value, str)}


def _output(source: Members) -> tuple[OutputEntry, ...]:
    if isinstance(source.get("output"), list):
        return tuple(read(OutputEntry, record) for record in records(source["output"]))
    streams = (("stdout", text(source.get("stdout"))), ("stderr", text(source.get("stderr"))))
    return tuple(OutputEntry(kind, said) for kind, said in streams if said)


def read_runs(response: object) -> Page[RunView]:
    """A list's response."""
    return page(response, "runs", read_run)
