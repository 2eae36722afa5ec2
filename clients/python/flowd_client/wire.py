"""The wire: method names, error slugs and shapes, once. The daemon and every client read them here.

Members are camelCase, instants ISO 8601 UTC with milliseconds, durations integer milliseconds (``…Ms``). What is
unknown is absent, never null. Members may be added at any time; a reader ignores what it does not know.
"""

from typing import Any, Final, Literal, NamedTuple, TypedDict

PROTOCOL_VERSION: Final = 1
"""Raised when a reader of the older protocol could be misled; additions do not raise it."""

SOCKET_NAME: Final = "flowd.sock"
STATE_DIR: Final = ".codex/flowd"
"""Relative to the workspace."""

HTTP_PORT: Final = 7345
"""Where the HTTP shim listens unless told otherwise: the reference system's tutorial says so."""

SOCKET_POINTER: Final = "flowd.sock.path"
"""Where the socket's path was too long, this file in the state folder holds the path that is used instead."""

DISPATCH: Final = "flow.dispatch"
REPLAY: Final = "flow.replay"
CANCEL_RUN: Final = "flow.cancelRun"
CANCEL_EVENT: Final = "flow.cancelEvent"
RETRY_RUN: Final = "flow.retryRun"
LIST_EVENTS: Final = "flow.listEvents"
GET_EVENT: Final = "flow.getEvent"
LIST_RUNS: Final = "flow.listRuns"
GET_RUN: Final = "flow.getRun"
WAIT_RUN: Final = "flow.waitRun"
READ_OUTPUT: Final = "flow.readOutput"
LIST_FLOWS: Final = "flow.listFlows"
EXPLAIN: Final = "flow.explain"
SUBSCRIBE: Final = "flow.subscribe"
UNSUBSCRIBE: Final = "flow.unsubscribe"
UPDATE: Final = "flow.update"
STATUS: Final = "daemon.status"
RELOAD: Final = "daemon.reload"
DRAIN: Final = "daemon.drain"
PRUNE: Final = "daemon.prune"
DISCOVER: Final = "rpc.discover"

DEFAULT_LIMIT: Final = 50
MAX_LIMIT: Final = 500
"""List limits: missing, 0 or not a number gives the default; everything else is clamped to 1..500."""

PROCESS_STATUSES: Final = ("queued", "running", "completed", "failed", "canceled")
RESULT_STATUSES: Final = ("skipped", "completed", "changed", "needs_intervention", "blocked", "failed")


class Failure(NamedTuple):
    """How an error slug travels: its JSON-RPC code, its HTTP status, and what it means."""

    code: int
    http_status: int
    meaning: str


FAILURES: Final[dict[str, Failure]] = {
    "parse_error": Failure(-32700, 400, "The frame is not JSON in UTF-8."),
    "invalid_request": Failure(-32600, 400, "The JSON is not a JSON-RPC 2.0 request."),
    "method_not_found": Failure(-32601, 404, "There is no such method; rpc.discover lists them."),
    "invalid_params": Failure(-32602, 400, "A parameter is missing, unknown, or out of its range."),
    "internal": Failure(-32603, 500, "A fault in flowd; its log has the details under the errorId."),
    "invalid_event": Failure(-32010, 400, "The event lacks id or type, or a member has the wrong type."),
    "payload_too_large": Failure(-32011, 413, "The event is larger than max_payload_bytes."),
    "frame_too_large": Failure(-32012, 413, "The frame is larger than max_frame_bytes."),
    "response_too_large": Failure(-32013, 413, "The answer would be larger than 32 MiB; ask for less."),
    "event_not_found": Failure(-32020, 404, "No event has this id."),
    "run_not_found": Failure(-32021, 404, "No run has this id."),
    "step_not_found": Failure(-32022, 404, "No flow, or no step of it, has this name."),
    "subscription_not_found": Failure(-32023, 404, "This connection has no subscription of this name."),
    "cursor_expired": Failure(-32024, 410, "The journal does not reach back to this cursor: list, then subscribe."),
    "run_finished": Failure(-32030, 409, "The run has ended already."),
    "run_active": Failure(-32031, 409, "The run is queued or running."),
    "not_retryable": Failure(-32032, 409, "The run ended well; replay its event to run it anew."),
    "queue_full": Failure(-32040, 429, "max_queued runs wait already; send the event again later."),
    "too_many_connections": Failure(-32042, 503, "max_connections clients are connected already."),
    "shutting_down": Failure(-32043, 503, "The daemon is about to exit."),
    "too_many_subscriptions": Failure(-32048, 429, "This connection, or all together, have too many subscriptions."),
    "storage_full": Failure(-32044, 503, "The disk under the state folder is full; nothing was stored."),
    "storage_busy": Failure(-32045, 503, "Another program holds the database; nothing was stored."),
    "storage_failed": Failure(-32046, 503, "The disk failed; after a failed write the daemon stops."),
    "bad_state": Failure(-32047, 503, "State on disk cannot be read."),
    "not_authorized": Failure(-32050, 403, "The caller is not this socket's owner."),
}
"""Every slug that the daemon answers with."""

HTTP_FAILURES: Final[dict[str, tuple[int, str]]] = {
    "bad_request": (400, "The request line, a header, the path or the query cannot be read."),
    "unauthorized": (401, "A token or a signature is needed, or the one sent is unknown."),
    "invalid_signature": (401, "The signature does not fit the body, or is missing."),
    "stale_signature": (401, "The signature's timestamp is too far from the daemon's clock."),
    "nonce_reused": (401, "A request with this nonce came before."),
    "missing_scope": (403, "The token is good, but not for this."),
    "host_not_allowed": (403, "The Host header names a host that is not this daemon."),
    "cross_origin": (403, "A web page of another origin sent this."),
    "not_found": (404, "There is no such path."),
    "method_not_allowed": (405, "The path is there, but not with this HTTP method; Allow lists them."),
    "request_timeout": (408, "The request took too long to arrive."),
    "body_too_large": (413, "The body is larger than max_body_bytes."),
    "unsupported_media_type": (415, "The Content-Type is none that this path takes."),
    "range_not_satisfiable": (416, "The range begins after the end of the output."),
    "unmapped_hook": (422, "The webhook has no value where the config looks for one."),
    "headers_too_large": (431, "The request's headers are too large."),
    "too_many_streams": (503, "max_streams readers follow something already."),
    "not_ready": (503, "The daemon is draining; it starts nothing more."),
}
"""Slugs that only the HTTP shim answers with: HTTP status and meaning. It answers with those of `FAILURES` too."""

CLIENT_FAILURES: Final[dict[str, str]] = {
    "no_daemon": "No daemon listens for this workspace.",
    "connection_lost": "The daemon closed the connection before it answered.",
    "timed_out": "The daemon did not answer in time; what was asked may still happen.",
    "bad_answer": "The answer is not what the protocol says.",
    "no_state": "A local client without state was asked about it.",
    "daemon_running": "A local client found a daemon on its state folder.",
    "not_available": "This transport cannot do that, or the package it needs is not installed.",
}
"""Slugs that a client raises by itself."""

RETRY_SAFE: Final = frozenset(
    {DISPATCH, LIST_EVENTS, GET_EVENT, LIST_RUNS, GET_RUN, WAIT_RUN, READ_OUTPUT, LIST_FLOWS, EXPLAIN, STATUS}
)
"""Methods that may be sent again after a lost connection: readers, and dispatch by its event's id."""


class _OutputEntry(TypedDict):
    kind: Literal["stdout", "stderr"]
    text: str
    createdAt: str


class _AttemptRequired(TypedDict):
    id: str
    attemptNumber: int
    status: str
    workerId: str
    startedAt: str


class AttemptShape(_AttemptRequired, total=False):
    """One process tree of a run."""

    reason: str
    error: str
    exitCode: int
    signal: int
    pid: int
    completedAt: str
    command: list[str]
    cwd: str
    leftovers: list[str]
    survivors: list[str]
    maxRssBytes: int
    cpuMs: int


class _RunRequired(TypedDict):
    id: str
    eventId: str
    flowName: str
    flowVersion: float
    stepName: str
    runner: str
    backend: str
    status: str
    processStatus: str
    effectiveStatus: str
    needsAttention: bool
    attemptCount: int
    packageHash: str
    createdAt: str
    updatedAt: str


class RunShape(_RunRequired, total=False):
    """A run. ``status`` is the process status (the reference client derives from it).

    ``startedAt`` is of its first attempt, ``completedAt`` of its last; ``durationMs`` is how long its attempts took
    together, without the time between them.
    """

    resultStatus: str
    reason: str
    error: str
    result: dict[str, Any]
    resultJson: str
    reportedResult: dict[str, Any]
    exitCode: int
    signal: int
    replayOf: str
    startedAt: str
    completedAt: str
    durationMs: int
    attempts: list[AttemptShape]
    output: list[_OutputEntry]
    outputTruncated: bool
    cancelRequested: bool


class _EventRequired(TypedDict):
    id: str
    type: str
    receivedAt: str
    payload: Any
    raw: dict[str, Any]
    runIds: list[str]
    createdAt: str


class EventShape(_EventRequired, total=False):
    """An event; ``raw`` is the whole normalised event with its unknown members."""

    source: str
    occurredAt: str
    runs: list[RunShape]


class _DispatchRequired(TypedDict):
    status: Literal["accepted", "duplicate"]
    eventId: str
    runIds: list[str]
    matched: int


class DispatchShape(_DispatchRequired, total=False):
    """Answer of flow.dispatch and flow.replay. ``matched`` is 0 for a duplicate. ``timedOut`` only if waiting did."""

    idempotent: bool
    conflict: bool
    warning: str
    timedOut: bool
    event: EventShape
    runs: list[RunShape]


class _StepRequired(TypedDict):
    name: str
    runner: str
    script: str
    timeoutMs: int


class StepShape(_StepRequired, total=False):
    """A step of a flow."""

    triggerType: str
    schema: str
    cwd: str


class _FlowRequired(TypedDict):
    name: str
    version: float
    root: str
    origin: Literal["installed", "source"]
    state: Literal["ok", "stale"]
    packageHash: str
    steps: list[StepShape]


class FlowShape(_FlowRequired, total=False):
    """A flow in force."""

    description: str
    warnings: list[str]


class _BrokenRequired(TypedDict):
    name: str
    root: str
    origin: Literal["installed", "source"]
    file: str
    error: str
    remedy: str
    stale: bool


class BrokenShape(_BrokenRequired, total=False):
    """A package that cannot be used as it is on disk; ``stale``: its last good definition is in force."""

    line: int


class ShadowedShape(TypedDict):
    """A package that another one of the same name hides."""

    name: str
    root: str
    by: str


class FlowsShape(TypedDict):
    """Answer of flow.listFlows and daemon.reload."""

    flows: list[FlowShape]
    broken: list[BrokenShape]
    shadowed: list[ShadowedShape]


class SchemaErrorShape(TypedDict):
    """Why a payload does not fit: where, which keyword, and a sentence."""

    path: str
    keyword: str
    message: str


class _VerdictRequired(TypedDict):
    flow: str
    step: str
    matches: bool
    reason: Literal["matched", "no_trigger", "type", "schema"]


class VerdictShape(_VerdictRequired, total=False):
    """What one step says to an event."""

    triggerType: str
    schema: str
    errors: list[SchemaErrorShape]


class ExplainShape(TypedDict):
    """Answer of flow.explain."""

    eventId: str
    type: str
    matched: int
    steps: list[VerdictShape]
    broken: list[BrokenShape]


class OutputShape(TypedDict):
    """Answer of flow.readOutput. ``nextOffset`` is where to read on; ``eof``: the run has ended and this is its end.

    ``text`` is UTF-8 with U+FFFD where the bytes are none, and never cuts a character in two; with
    ``encoding: "base64"`` it is the exact bytes.
    """

    text: str
    offset: int
    nextOffset: int
    size: int
    eof: bool


class SubscribeShape(TypedDict):
    """Answer of flow.subscribe. ``cursor`` is where the journal was then, or ``after``; all updates come after it."""

    subscription: str
    cursor: str


class OutputPlaceShape(TypedDict):
    """How far a subscriber has read an attempt's output, in bytes: flow.subscribe's ``places``, to go on there."""

    runId: str
    attempt: int
    stdout: int
    stderr: int


class _UpdateRequired(TypedDict):
    subscription: str
    cursor: str
    kind: Literal["event", "run", "flow", "output", "lagging", "ended"]
    at: str


class UpdateShape(_UpdateRequired, total=False):
    """Params of a flow.update notification. ``cursor`` is opaque; pass the last one as ``after`` to miss nothing.

    By ``kind``:
      event: ``event`` (without payload and raw). It was accepted.
      run: ``status`` and, where an attempt began or ended, ``attempt``, as they were then; ``run`` as it is now.
      flow: ``flowName`` and its ``status`` then (ok, stale, broken, removed); ``flow`` and ``broken`` as they are now.
      output: ``runId attempt stream text offset nextOffset eof``, in bytes, as in `OutputShape`. All of an attempt's
        output comes before the run's update that tells its end.
      lagging: ``behind``, how many entries of the journal this subscriber has yet to read. Nothing is dropped.
      ended: ``error`` (code, message, data). The subscription is over.
    """

    event: dict[str, Any]
    run: RunShape
    status: str
    attempt: int
    flowName: str
    flow: FlowShape
    broken: list[BrokenShape]
    runId: str
    stream: Literal["stdout", "stderr"]
    text: str
    offset: int
    nextOffset: int
    eof: bool
    behind: int
    error: dict[str, Any]


class StatusShape(TypedDict, total=False):
    """Answer of daemon.status."""

    version: str
    protocol: int
    host: Literal["client"]  # only where no daemon answers, but the engine inside a local client
    pid: int
    state: Literal["ready", "draining"]
    workspace: str
    stateDir: str
    socket: str
    startedAt: str
    uptimeMs: int
    rssBytes: int
    keeper: dict[str, Any]
    catalog: dict[str, int]
    events: int
    runs: dict[str, int]
    waitingForStorage: int  # runs whose start or end cannot be written down just now; absent when there are none
    running: list[dict[str, Any]]
    onStop: Literal["finish", "cancel", "keep"]
    onServiceStop: Literal["cancel"]  # only where a stop by systemd is not what onStop says; a restart is
    database: dict[str, int]
    limits: dict[str, int]
    settings: list[dict[str, Any]]
