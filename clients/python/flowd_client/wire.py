"""The wire: names, numbers and error slugs, once. The daemon and every client read them here.

The methods are in `flowd_client.methods`. Members are camelCase, instants ISO 8601 UTC with milliseconds, durations
integer milliseconds (``…Ms``). What is unknown is absent, never null. Members may be added at any time; a reader
ignores what it does not know.
"""

from typing import Final, Literal, NamedTuple

from flowd_client.methods import *  # noqa: F403 - the methods' names are part of the wire

PROTOCOL_VERSION: Final = 1
"""Raised when a reader of the older protocol could be misled; additions do not raise it."""

SOCKET_NAME: Final = "flowd.sock"
STATE_DIR: Final = ".codex/flowd"
"""Relative to the workspace."""

HTTP_PORT: Final = 7345
"""Where the HTTP shim listens unless told otherwise: the reference system's tutorial says so."""

SOCKET_POINTER: Final = "flowd.sock.path"
"""Where the socket's path was too long, this file in the state folder holds the path that is used instead."""

DEFAULT_LIMIT: Final = 50
MAX_LIMIT: Final = 500
"""List limits: missing, 0 or not a number gives the default; everything else is clamped to 1..500."""

OLDEST: Final = "oldest"
"""As ``after`` of a subscription: begin with the oldest update that is kept."""

Stream = Literal["stdout", "stderr"]
Named = Literal["run", "event"]
"""What an id may be of."""
ListedOutput = Literal["tail"]
"""What a list of runs may show of their output."""

TRACEPARENT: Final = (
    "00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
    "|(?!00|ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-[!-~]{1,200})?"
)
"""A ``traceparent`` as a pattern: of version 00, or of one to come that may have more behind it (W3C Trace Context)."""

STREAMS: Final[tuple[Stream, ...]] = ("stdout", "stderr")

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
    "request_cancelled": Failure(-32800, 499, "Its caller cancelled the request; it may have been done."),
    "invalid_event": Failure(-32010, 400, "The event lacks id or type, or a member has the wrong type."),
    "payload_too_large": Failure(-32011, 413, "The event is larger than max_payload_bytes."),
    "frame_too_large": Failure(-32012, 413, "The frame is larger than max_frame_bytes."),
    "response_too_large": Failure(-32013, 413, "The response would be larger than 32 MiB; ask for less."),
    "event_not_found": Failure(-32020, 404, "No event has this id."),
    "run_not_found": Failure(-32021, 404, "No run has this id."),
    "step_not_found": Failure(-32022, 404, "No flow, or no step of it, has this name."),
    "host_not_found": Failure(-32025, 404, "No host has this name."),
    "notifier_not_found": Failure(-32028, 404, "The settings have no notifier of this name."),
    "notice_not_found": Failure(-32029, 404, "No notice has this id."),
    "subscription_not_found": Failure(-32023, 404, "This connection has no subscription of this name."),
    "cursor_expired": Failure(
        -32024, 410, "Entries after this cursor were dropped. List what there is, then subscribe without a cursor."
    ),
    "run_finished": Failure(-32030, 409, "The run has ended already."),
    "run_active": Failure(-32031, 409, "The run is queued or running."),
    "not_retryable": Failure(-32032, 409, "The run ended well; replay its event to run it anew."),
    "dependent_active": Failure(-32033, 409, "A run that needs this one is running."),
    "needs_active": Failure(-32034, 409, "A step that this one needs has not ended, or asks a person."),
    "not_asking": Failure(-32035, 409, "The run does not ask for a person."),
    "already_answered": Failure(-32036, 409, "Somebody has answered what the run asked; `data` says who, and how."),
    "chain_limit": Failure(-32037, 409, "The event is too deep below the root of its tree, or one too many for it."),
    "cause_canceled": Failure(-32038, 409, "The run that would cause this is being canceled."),
    "would_deadlock": Failure(-32039, 409, "What the step would wait for cannot go on before the step has ended."),
    "too_many_runs": Failure(-32049, 409, "The event matches more steps than may have runs at once, which are 5,000."),
    "no_match": Failure(-32052, 409, "The event matches no step, and was to be refused then: nothing was stored."),
    "host_alive": Failure(-32051, 409, "The host may be there, so what runs on it cannot be declared lost."),
    "queue_full": Failure(-32040, 429, "As many runs are queued as may be; send the event again later."),
    "too_many_connections": Failure(-32042, 503, "max_connections clients are connected already."),
    "refused": Failure(-32053, 503, "The daemon cannot do this as it is now; the message says why."),
    "shutting_down": Failure(-32043, 503, "The daemon is about to exit, and has not begun this."),
    "too_many_subscriptions": Failure(-32048, 429, "This connection, or all together, have too many subscriptions."),
    "storage_full": Failure(-32044, 503, "The disk under the state folder is full; nothing was stored."),
    "storage_busy": Failure(-32045, 503, "Another program holds the database; nothing was stored."),
    "storage_failed": Failure(-32046, 503, "The disk failed; after a failed write the daemon stops."),
    "bad_state": Failure(-32047, 503, "State on disk cannot be read."),
    "not_authorized": Failure(-32050, 403, "The caller is not this socket's owner."),
}
"""Every slug of the daemon's errors."""

HTTP_FAILURES: Final[dict[str, tuple[int, str]]] = {
    "bad_request": (400, "The request line, a header, the path or the query cannot be read."),
    "unauthorized": (401, "A token or a signature is needed, or the one sent is unknown."),
    "invalid_signature": (401, "The signature does not match, or is missing."),
    "stale_signature": (401, "The signature's timestamp is too far from the daemon's clock."),
    "nonce_reused": (401, "A request with this nonce came before."),
    "missing_scope": (403, "The token is valid, but does not allow this."),
    "host_not_allowed": (403, "The Host header names a host that is not this daemon."),
    "cross_origin": (403, "A web page of another origin sent this."),
    "not_found": (404, "There is no such path."),
    "method_not_allowed": (405, "The path is there, but not with this HTTP method; Allow lists them."),
    "request_timeout": (408, "The request took too long to arrive."),
    "body_too_large": (413, "The body is larger than max_body_bytes."),
    "unsupported_media_type": (415, "This path does not take the Content-Type."),
    "range_not_satisfiable": (416, "The range begins after the end of the output."),
    "unmapped_hook": (422, "The webhook has no value where the config looks for one."),
    "headers_too_large": (431, "The request's headers are too large."),
    "no_websocket": (501, "This wants a WebSocket, and flowd has none."),
    "too_many_bodies": (503, "Large bodies of other requests take up the memory for them; send it again in a moment."),
    "too_many_streams": (
        503,
        "max_streams readers follow something already, or one reader's pages three quarters of that.",
    ),
    "not_ready": (503, "The daemon is draining; it starts nothing more."),
}
"""Slugs of HTTP alone: status and meaning. Those of `FAILURES` come over HTTP, too."""

CLIENT_FAILURES: Final[dict[str, str]] = {
    "no_daemon": "No daemon listens for this workspace.",
    "untrusted_daemon": "What listens there belongs to neither the caller nor root; nothing was sent.",
    "connection_lost": "The daemon closed the connection before it responded.",
    "timed_out": "The daemon did not respond in time; what was asked may still happen.",
    "bad_answer": "The response is not what the protocol says.",
    "no_state": "A local client without state was asked about it.",
    "daemon_running": "A local client found a daemon on its state folder.",
    "not_available": "This transport cannot do that, or the package it needs is not installed.",
}
"""Slugs that a client raises by itself."""
