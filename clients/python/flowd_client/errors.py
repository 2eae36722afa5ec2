"""Everything a client raises, as one tree.

FlowClientError
├── UnavailableModeError       not_available      this version has no such transport
├── LocalFlowClientUnsupportedStateError  no_state  a local client without state was asked about it
├── DaemonRunningError         daemon_running     a local client found a daemon on its state folder
├── DaemonNotRunningError      no_daemon          nothing was sent in the whole call
├── UntrustedDaemonError       untrusted_daemon   another user's daemon: nothing was sent to it
├── ConnectionLostError        connection_lost    what was asked may have happened
├── TimedOutError              timed_out          what was asked may still happen
├── BadAnswerError             bad_answer
└── CallError                                     the call was refused, with a code, a slug and data
    ├── InvalidCallError       invalid_…, parse_error, method_not_found, …_too_large
    ├── NotFoundError          event_not_found, run_not_found, step_not_found, subscription_not_found
    ├── CursorExpiredError     cursor_expired
    ├── ConflictError          run_finished, run_active, not_retryable, dependent_active, needs_active …
    ├── UnauthorizedError      unauthorized, invalid_signature, missing_scope, not_authorized …
    └── RefusedError           queue_full, shutting_down, storage_full …: the same call may work later
"""

import copyreg
import os
from collections.abc import Mapping
from typing import Any

from flowd_client import wire


class FlowClientError(Exception):
    """A call that did not give an answer.

    Attributes:
        slug: What went wrong, for programs; one of `flowd_client.wire.FAILURES` or ``CLIENT_FAILURES``.
        message: A sentence for people, with the remedy.
        data: JSON-ready facts beside it.
    """

    def __init__(self, slug: str, message: str, data: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.slug = slug
        self.message = message
        self.data: dict[str, Any] = dict(data or {})

    def __reduce__(self) -> tuple[Any, ...]:
        # Not made anew by `__init__`, whose parameters differ from class to class: errors cross processes as they are.
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]


class UnavailableModeError(FlowClientError):
    """This version of the client has no such mode."""

    def __init__(self, message: str) -> None:
        super().__init__("not_available", message)


class LocalFlowClientUnsupportedStateError(FlowClientError):
    """A local client with ``state=None`` keeps nothing that could be asked about. The reference system's name."""

    def __init__(self, operation: str) -> None:
        super().__init__(
            "no_state",
            f'Local flow client {operation} requires local state: make the client with state="memory" or state="file".',
            {"operation": operation},
        )


class DaemonRunningError(FlowClientError):
    """A daemon serves the state folder that a local client was to open. Nothing was done."""

    def __init__(self, folder: str, *, socket_path: str) -> None:
        super().__init__(
            "daemon_running",
            f"A daemon serves the state in {folder}, so a local client cannot. Speak to the daemon instead:"
            f' create_flow_client(mode="socket", socket_path={socket_path!r}).',
            {"socket": socket_path},
        )


class DaemonNotRunningError(FlowClientError):
    """No daemon listens there, or it may not be connected to. Nothing was sent, in none of the call's attempts."""

    def __init__(self, message: str, *, socket_path: str | None = None, url: str | None = None) -> None:
        super().__init__("no_daemon", message, {"socket": socket_path} if url is None else {"url": url})


class UntrustedDaemonError(FlowClientError):
    """What listens there belongs to neither this user nor root, and nothing was sent to it."""

    def __init__(self, socket_path: str, *, uid: int) -> None:
        super().__init__(
            "untrusted_daemon",
            f"Nothing was sent to {socket_path}: user {uid} listens there, who is neither you nor root. To trust that"
            f" user, set FLOWD_TRUST={os.path.dirname(socket_path)} or give the client server_uid={uid}.",
            {"socket": socket_path, "uid": uid},
        )


class ConnectionLostError(FlowClientError):
    """The connection ended before the answer. What was asked may have happened.

    Also where the daemon could not be reached any more to ask again: ``__cause__`` is that failure then.
    """

    def __init__(self, method: str, since: FlowClientError | None = None) -> None:
        """``since`` is why asking again failed."""
        if method == wire.DISPATCH:
            remedy = "The event may be stored: send it again with the same id, which runs nothing twice."
        elif method == wire.SUBSCRIBE:
            remedy = "Subscribe again; with the last cursor as `after` nothing is missed."
        elif method in wire.RETRY_SAFE:
            remedy = "Ask again."
        else:
            remedy = "It may have been done: look before asking again."
        reason = "" if since is None else f" {since.message}"
        super().__init__(
            "connection_lost",
            f"The daemon closed the connection before it answered {method}.{reason} {remedy}",
            {"method": method},
        )


class TimedOutError(FlowClientError):
    """No answer in time. What was asked may still happen."""

    def __init__(self, method: str, timeout_s: float, *, stopped_pid: int | None = None) -> None:
        """``stopped_pid`` is the daemon's process where that is stopped."""
        why = "" if stopped_pid is None else f" {stopped(stopped_pid)}"
        super().__init__(
            "timed_out",
            f"The daemon did not answer {method} within {timeout_s:g} s.{why} It may still be done: look before asking"
            " again.",
            {"method": method, "timeoutMs": round(timeout_s * 1000)}
            | ({} if stopped_pid is None else {"stoppedPid": stopped_pid}),
        )


def stopped(pid: int) -> str:
    """A sentence about a daemon whose process is stopped."""
    return f"Its process {pid} is stopped (by SIGSTOP or Ctrl-Z, say): `kill -CONT {pid}` lets it go on."


class BadAnswerError(FlowClientError):
    """The answer is not what the protocol says, so nothing is known about what was asked."""

    def __init__(self, message: str) -> None:
        super().__init__("bad_answer", message)


class CallError(FlowClientError):
    """The daemon refused the call, or this library did in its place before anything was sent.

    Attributes:
        code: The JSON-RPC error code.
    """

    def __init__(self, code: int, slug: str, message: str, data: Mapping[str, Any] | None = None) -> None:
        super().__init__(slug, message, data)
        self.code = code


class InvalidCallError(CallError):
    """The call itself is wrong; the same call is refused again."""


class NotFoundError(CallError):
    """Nothing has the id or name that was asked for."""


class CursorExpiredError(CallError):
    """What came after the cursor is kept no more. List what is now, then subscribe without a cursor."""


class ConflictError(CallError):
    """The run's state does not allow it."""


class RefusedError(CallError):
    """The daemon cannot take this now; the same call may work later."""


class UnauthorizedError(CallError):
    """The caller has not shown that it may do this."""


_SLUGS: dict[type[CallError], tuple[str, ...]] = {
    InvalidCallError: (
        *("parse_error", "invalid_request", "method_not_found", "invalid_params", "invalid_event", "payload_too_large"),
        *("frame_too_large", "bad_request", "body_too_large", "headers_too_large", "unsupported_media_type"),
        *("method_not_allowed", "no_websocket"),
    ),
    NotFoundError: (
        *("event_not_found", "run_not_found", "step_not_found", "host_not_found", "subscription_not_found"),
        *("notifier_not_found", "notice_not_found", "not_found"),
    ),
    CursorExpiredError: ("cursor_expired",),
    ConflictError: (
        *("run_finished", "run_active", "not_retryable", "dependent_active", "needs_active", "not_asking"),
        *("already_answered", "chain_limit", "cause_canceled", "would_deadlock", "too_many_runs", "host_alive"),
        "no_match",
    ),
    UnauthorizedError: (
        *("unauthorized", "invalid_signature", "stale_signature", "nonce_reused", "missing_scope", "host_not_allowed"),
        *("cross_origin", "not_authorized"),
    ),
    RefusedError: (
        *("queue_full", "too_many_requests", "too_many_connections", "too_many_subscriptions", "too_many_streams"),
        *("shutting_down", "storage_full", "storage_busy", "storage_failed", "not_ready", "request_timeout", "refused"),
        *("too_many_bodies", "request_cancelled"),
    ),
}
_CLASSES = {slug: kind for kind, slugs in _SLUGS.items() for slug in slugs}


def invalid_params(message: str) -> InvalidCallError:
    """What to raise for a call that cannot even be sent."""
    return InvalidCallError(wire.FAILURES["invalid_params"].code, "invalid_params", message)


_CODES = {-32700: "parse_error", -32600: "invalid_request", -32601: "method_not_found", -32602: "invalid_params"}


def of_answer(error: object) -> CallError:
    """The exception for the ``error`` member of a JSON-RPC answer. Never raises: a stranger's error is still told."""
    members = error if isinstance(error, dict) else {}
    code = members.get("code")
    if not isinstance(code, int):
        code = -32603
    data = members.get("data")
    facts: dict[str, Any] = data if isinstance(data, dict) else ({} if data is None else {"data": data})
    slug = facts.get("slug")
    if not isinstance(slug, str):
        slug = _CODES.get(code, "internal")
    message = members.get("message")
    if not isinstance(message, str) or not message:
        message = f"The daemon refused the call ({slug})."
    return _CLASSES.get(slug, CallError)(code, slug, message, facts)
