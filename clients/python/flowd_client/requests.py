"""Every verb as a pure request: method, params, how long it may take, and how to read its response.

A verb is written here alone: clients/python/generate.py makes a method of both clients of each public function.
Views are imported by the first response that needs them: their classes take longer to build than most calls to answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flowd_client import wire
from flowd_client.discovery import run_around, trace_around
from flowd_client.request import CANCEL_S, Encoding, Instant, ListedOutput, Named, Request, ResolvedAs, Stream
from flowd_client.request import given as _given
from flowd_client.request import instant as _instant
from flowd_client.request import labels as _labels
from flowd_client.request import reader as _reader
from flowd_client.request import wait_s as _wait_s

if TYPE_CHECKING:
    from flowd_client.views.catalog import CatalogView, ExplainView
    from flowd_client.views.event import DispatchView, EventView
    from flowd_client.views.host import HostsView, HostView
    from flowd_client.views.notice import NoticesView, NoticeView
    from flowd_client.views.output import OutputView
    from flowd_client.views.question import QuestionView
    from flowd_client.views.queue import PausedView, QueueView, ResumedView
    from flowd_client.views.reading import Page
    from flowd_client.views.run import RunView
    from flowd_client.views.schedule import ScheduleView
    from flowd_client.views.tree import TreeEventView, WaitedEventView
    from flowd_client.views.watch import WatchesView

_read_run = _reader("run", "read_run")
_read_runs = _reader("run", "read_runs")
_read_queue = _reader("queue", "read_queue")
_read_paused = _reader("queue", "read_paused")
_read_resumed = _reader("queue", "read_resumed")
_read_questions = _reader("question", "read_questions")
_read_event = _reader("event", "read_event")
_read_events = _reader("event", "read_events")
_read_tree = _reader("tree", "read_tree")
_read_waited_event = _reader("tree", "read_waited_event")
_read_dispatch = _reader("event", "read_dispatch")
_read_catalog = _reader("catalog", "read_catalog")
_read_explain = _reader("catalog", "read_explain")
_read_schedules = _reader("schedule", "read_schedules")
_read_hosts = _reader("host", "read_hosts")
_read_host = _reader("host", "read_host")
_read_notices = _reader("notice", "read_notices")
_read_notice = _reader("notice", "read_notice")
_read_watches = _reader("watch", "read_watches")
_read_members = _reader("reading", "members")
_PART_READERS = {"utf-8": _reader("output", "read_output"), "base64": _reader("output", "read_output_bytes")}


def dispatch_event(
    event: Mapping[str, Any],
    *,
    wait: bool = False,
    timeout_ms: int | None = None,
    tree: bool = False,
    traceparent: str | None = None,
    require_match: bool = False,
) -> Request[DispatchView]:
    """Hand in an event. When this returns, the event and a run per matching step are on the daemon's disk.

    Sent again when the connection is lost: the event's id makes that safe. The result may then say ``duplicate``,
    with the runs that the first sending made.

    In a step that flowd runs, its run is the cause of the event: ``FLOWD_RUN_ID`` is sent along.

    Args:
        wait: Return when every run has ended, when none goes on without a person, or when ``timeout_ms`` has passed
            (then ``timed_out`` is set).
        timeout_ms: Of the waiting; None waits without limit.
        tree: Wait for all that the event's runs cause, too.
        traceparent: Of the trace that it belongs to (W3C Trace Context), kept with it and given to its steps;
            ``TRACEPARENT`` of the environment by default.
        require_match: Refuse the event, and store nothing, where no step matches it (``no_match``).
    """
    waiting = _given(wait=True, timeoutMs=timeout_ms, tree=tree or None) if wait else {}
    cause = _given(causedBy=run_around(), traceparent=traceparent or trace_around(), requireMatch=require_match or None)
    return Request(
        wire.DISPATCH, {"event": event, **cause, **waiting}, _read_dispatch, _wait_s(timeout_ms) if wait else 0.0
    )


def replay_event(
    event_id: str,
    *,
    wait: bool = False,
    timeout_ms: int | None = None,
    steps: Sequence[str] | None = None,
    missing: bool = False,
    from_steps: Sequence[str] | None = None,
    tree: bool = False,
    will_wait: bool = False,
) -> Request[DispatchView]:
    """New runs for a stored event, against the packages of now.

    Args:
        steps: Only these, each ``step`` or ``flow/step``, whatever those ended as that they need.
        missing: Only steps that have no run of this event yet.
        from_steps: Only these, and all that need them, in their order.
        tree: Wait for all of the event's tree.
        will_wait: It is waited for afterwards: where a step could not, nothing is done (``would_deadlock``).
    """
    waiting = _given(wait=True, timeoutMs=timeout_ms, tree=tree or None, causedBy=run_around()) if wait else {}
    if will_wait and (caller := run_around()):
        waiting |= _given(tree=tree or None, causedBy=caller)
    only = _given(steps=None if steps is None else list(steps), missing=missing or None)
    if from_steps is not None:
        only["from"] = list(from_steps)
    params = _given(eventId=event_id, **only, **waiting)
    return Request(wire.REPLAY, params, _read_dispatch, _wait_s(timeout_ms) if wait else 0.0)


def cancel_run(run_id: str) -> Request[RunView]:
    """End a run. Returns when it has ended, or soon after its step's grace with the run as it is then."""
    return Request(wire.CANCEL_RUN, {"runId": run_id}, _read_run, CANCEL_S)


def cancel_event(event_id: str, *, tree: bool = False) -> Request[Page[RunView]]:
    """End every unfinished run of an event; all its runs as they are then.

    Args:
        tree: Of all below it, too: what its runs caused, theirs, and so on; the first 500 runs that were ended.
    """
    return Request(wire.CANCEL_EVENT, _given(eventId=event_id, tree=tree or None), _read_runs, CANCEL_S)


def retry_run(run_id: str, *, will_wait: bool = False) -> Request[RunView]:
    """Another attempt of a run that ended badly.

    Args:
        will_wait: It is waited for afterwards: where a step could not, nothing is done (``would_deadlock``).
    """
    return Request(wire.RETRY_RUN, _given(runId=run_id, causedBy=run_around() if will_wait else None), _read_run)


def attention(
    *,
    limit: int | None = None,
    cursor: str | None = None,
    flow: str | None = None,
    step: str | None = None,
    labels: Mapping[str, str] | None = None,
) -> Request[Page[QuestionView]]:
    """Runs that ask for a person, in the order in which they were accepted, and what waits for the answers."""
    params = _given(limit=limit, cursor=cursor, flow=flow, step=step, label=_labels(labels))
    return Request(wire.ATTENTION, params, _read_questions)


def resolve_run(
    run_id: str, status: ResolvedAs, *, note: str | None = None, attempt: int | None = None
) -> Request[RunView]:
    """Say how a run that asks for a person counts from now on. What waits for it goes on, or ends.

    A question is answered once: who comes second gets a ``ConflictError`` (``already_answered``) that says who.

    Args:
        note: Why; it becomes the result's message.
        attempt: Only if this is still the run's last attempt.
    """
    params = _given(runId=run_id, status=status, note=note, attempt=attempt)
    return Request(wire.RESOLVE_RUN, params, _read_run)


def answer_run(run_id: str, input: Any = None, *, attempt: int | None = None) -> Request[RunView]:  # noqa: A002 - the wire's name
    """Another attempt of a run that asks for a person; ``runtime.answer`` of its context has the answer.

    Args:
        input: Any JSON value.
        attempt: Only if this is still the run's last attempt.
    """
    return Request(wire.ANSWER_RUN, _given(runId=run_id, input=input, attempt=attempt), _read_run)


def list_runs(
    *,
    event_id: str | None = None,
    status: str | None = None,
    flow: str | None = None,
    limit: int | None = None,
    cursor: str | None = None,
    output: ListedOutput | None = None,
    step: str | None = None,
    reason: str | None = None,
    since: Instant | None = None,
    until: Instant | None = None,
    labels: Mapping[str, str] | None = None,
    text: str | None = None,
    host: str | None = None,
) -> Request[Page[RunView]]:
    """Runs, newest first; their output, the last 4 KiB of each stream, only with ``output="tail"``. ``status`` is a
    process status or an effective one.

    No page takes the daemon long, however rare what it looks for: with ``text``, or with several filters, it may
    have fewer runs than ``limit``, or none, while its ``next_cursor`` goes on.

    Args:
        reason: ``timeout``, ``exit``, ``needs_not_met`` …
        since: Made then or later; text is an instant of ISO 8601 with its offset, or so long ago, as in ``2h``.
        until: Made before then.
        labels: That a run has, all of them.
        text: In the id of the run, the id or the type of its event, the name of its flow or its step, its error, or
            the message of its result. The letters A to Z count in either case.
        host: Where it had an attempt, of the hosts that share the store.
    """
    params = _given(
        eventId=event_id, status=status, flow=flow, limit=limit, cursor=cursor, output=output, step=step, reason=reason,
        since=_instant(since), until=_instant(until), label=_labels(labels), text=text, host=host,
    )  # fmt: skip
    return Request(wire.LIST_RUNS, params, _read_runs)


def get_run(run_id: str, *, definition: bool = False) -> Request[RunView]:
    """One run with its attempts and the last 64 KiB of each stream. ``definition``: also what its last attempt was
    made with.
    """
    return Request(wire.GET_RUN, _given(runId=run_id, definition=definition or None), _read_run)


def wait_run(run_id: str, *, timeout_ms: int | None = None) -> Request[RunView]:
    """One run, once it has ended (``is_final``) or ``timeout_ms`` has passed; None waits without limit.

    A step may not wait for a run that can only end after its own, nor for such an event or tree: that is a
    ``ConflictError`` (``would_deadlock``).
    """
    cause = None if timeout_ms == 0 else run_around()
    params = _given(runId=run_id, timeoutMs=timeout_ms, causedBy=cause)
    return Request(wire.WAIT_RUN, params, _read_run, _wait_s(timeout_ms))


def wait_event(event_id: str, *, tree: bool = False, timeout_ms: int | None = None) -> Request[WaitedEventView]:
    """How an event's runs are, once none goes on without a person or ``timeout_ms`` has passed.

    Args:
        tree: Of all below it, too: what its runs caused, theirs, and so on.
        timeout_ms: None waits without limit.
    """
    params = _given(eventId=event_id, tree=tree or None, timeoutMs=timeout_ms, causedBy=run_around())
    return Request(wire.WAIT_EVENT, params, _read_waited_event, _wait_s(timeout_ms))


def list_events(
    *,
    type: str | None = None,  # noqa: A002 - the wire's name
    limit: int | None = None,
    cursor: str | None = None,
    flow: str | None = None,
    step: str | None = None,
    status: str | None = None,
    reason: str | None = None,
    since: Instant | None = None,
    until: Instant | None = None,
    labels: Mapping[str, str] | None = None,
    text: str | None = None,
) -> Request[Page[EventView]]:
    """Events, newest first. ``flow``, ``step``, ``status``, ``reason`` and ``labels`` are of one of their runs, as
    in `list_runs`; with these or with ``text`` a page may be short, or empty, while its ``next_cursor`` goes on.

    Args:
        since: Accepted then or later, as in `list_runs`.
        until: Accepted before then.
        text: In the id, the type or the source of the event.
    """
    params = _given(
        type=type, limit=limit, cursor=cursor, flow=flow, step=step, status=status, reason=reason,
        since=_instant(since), until=_instant(until), label=_labels(labels), text=text,
    )  # fmt: skip
    return Request(wire.LIST_EVENTS, params, _read_events)


def get_event(event_id: str) -> Request[EventView]:
    """One event with its runs."""
    return Request(wire.GET_EVENT, {"eventId": event_id}, _read_event)


def get_tree(
    event_id: str, *, limit: int | None = None, cursor: str | None = None, max_runs: int | None = None
) -> Request[Page[TreeEventView]]:
    """An event and all below it, with their runs: what its runs caused, theirs, and so on. The oldest comes
    first, and every event after the one whose run caused it.

    Args:
        limit: Of the events of a page.
        max_runs: Of the runs of a page, at most 2,000; of an event that has more, the newest.
    """
    params = _given(eventId=event_id, tree=True, limit=limit, cursor=cursor, maxRuns=max_runs)
    return Request(wire.GET_EVENT, params, _read_tree)


def read_output(
    run_id: str,
    *,
    stream: Stream = "stdout",
    offset: int = 0,
    wait_ms: int = 0,
    attempt: int | None = None,
    encoding: Encoding = "utf-8",
    max_bytes: int | None = None,
    turns: bool = False,
) -> Request[OutputView]:
    """A part of a run's output from ``offset`` in bytes; waits up to ``wait_ms`` while there is none yet.

    Args:
        attempt: Which one; None is the latest.
        encoding: ``base64`` gives the exact bytes in ``data``, ``utf-8`` what is no text as U+FFFD.
        max_bytes: Of the part, at most 1 MiB; None is 256 KiB.
        turns: Tell in what order both streams were printed.
    """
    given = _given(
        attempt=attempt, waitMs=wait_ms or None, encoding=None if encoding == "utf-8" else encoding,
        maxBytes=max_bytes, turns=turns or None,
    )  # fmt: skip
    params = {"runId": run_id, "stream": stream, "offset": offset, **given}
    return Request(wire.READ_OUTPUT, params, _PART_READERS[encoding], wait_ms / 1000)


def find_ids(prefix: str, *, of: Named = "run", limit: int | None = None) -> Request[tuple[str, ...]]:
    """Ids of runs or events that begin so, in their order: the first 10, or up to 50 with ``limit``."""
    return Request(wire.FIND, {"prefix": prefix, "of": of, **_given(limit=limit)}, _read_ids)


def _read_ids(response: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(response["ids"])


def list_flows() -> Request[CatalogView]:
    """The flow packages: in force, broken and shadowed."""
    return Request(wire.LIST_FLOWS, {}, _read_catalog)


def explain(event: Mapping[str, Any]) -> Request[ExplainView]:
    """What every step would say to an event. Stores and starts nothing."""
    return Request(wire.EXPLAIN, {"event": event}, _read_explain)


def status(*, metrics: bool = False) -> Request[dict[str, Any]]:
    """How the daemon is, as ``daemon.status`` tells it; with ``metrics`` also what it tells Prometheus."""
    return Request(wire.STATUS, {"metrics": True} if metrics else {}, _read_members)


def reload() -> Request[CatalogView]:
    """The flow packages, after the daemon has looked at the disk anew."""
    return Request(wire.RELOAD, {}, _read_catalog)


def drain(*, off: bool = False) -> Request[dict[str, Any]]:
    """Let the daemon start no more runs; it goes on accepting events, and their runs stay queued.

    Args:
        off: Let it start them again.
    """
    return Request(wire.DRAIN, {"off": True} if off else {}, _read_members)


def open_page() -> Request[dict[str, Any]]:
    """A link to the daemon's web page that logs its first visitor in: ``url``, ``expiresAt``, and
    ``untilStop`` where HTTP is off and the page is there until the daemon stops."""
    return Request(wire.OPEN_PAGE, {}, _read_members)


def queue(
    *,
    flow: str | None = None,
    limit: int | None = None,
    cursor: str | None = None,
    step: str | None = None,
    labels: Mapping[str, str] | None = None,
) -> Request[QueueView]:
    """What is queued: runs that are ready, in the order in which they start, then those that wait. And pauses."""
    params = _given(flow=flow, limit=limit, cursor=cursor, step=step, label=_labels(labels))
    return Request(wire.QUEUE, params, _read_queue)


def pause(flow: str | None = None, step: str | None = None) -> Request[PausedView]:
    """Start nothing of a flow, of a step of it, or of all, until `resume`. Events are accepted, and wait.
    What runs goes on to its end."""
    return Request(wire.PAUSE, _given(flow=flow, step=step), _read_paused)


def resume(flow: str | None = None, step: str | None = None) -> Request[ResumedView]:
    """End a pause of a flow, of a step of it, or of all. With neither, runs start, too, that wait for a person
    because their state was copied from elsewhere. What is paused under a name of its own stays paused."""
    return Request(wire.RESUME_FLOWS, _given(flow=flow, step=step), _read_resumed)


def parallel(max: int) -> Request[dict[str, Any]]:  # noqa: A002 - the wire's name
    """Change how many runs may be under way at once, until the daemon starts anew. With fewer,
    what is under way goes on, and nothing starts until there is a place again."""
    return Request(wire.PARALLEL, {"max": max}, _read_members)


def notices(
    *, failed: bool = False, notifier: str | None = None, limit: int | None = None, cursor: str | None = None
) -> Request[NoticesView]:
    """What notifiers have told outside of flowd, newest first, and how they fare. With ``failed``, only what was
    given up."""
    params = _given(failed=failed or None, notifier=notifier, limit=limit, cursor=cursor)
    return Request(wire.NOTICES, params, _read_notices)


def retry_notice(notice_id: str) -> Request[NoticeView]:
    """Send a notice now that was given up, or waits for its next try."""
    return Request(wire.RETRY_NOTICE, {"noticeId": notice_id}, _read_notice)


def test_notifier(notifier: str) -> Request[dict[str, Any]]:
    """Send a test through a notifier: whether it was ``sent``, and the ``answer`` or the ``problem``."""
    return Request(wire.TEST_NOTIFIER, {"notifier": notifier}, _read_members)


def schedules(
    *, flow: str | None = None, limit: int | None = None, cursor: str | None = None
) -> Request[Page[ScheduleView]]:
    """What comes by itself: the schedules of all flows, or of one, when each comes next, and how the last times
    ended."""
    return Request(wire.SCHEDULES, _given(flow=flow, limit=limit, cursor=cursor), _read_schedules)


def watches() -> Request[WatchesView]:
    """The watches of all flows in force, on the host that answers."""
    return Request(wire.WATCHES, {}, _read_watches)


def hosts() -> Request[HostsView]:
    """The hosts that share the store, by name; where the store is in the state folder, this one alone."""
    return Request(wire.HOSTS, {}, _read_hosts)


def drain_host(host: str) -> Request[HostView]:
    """Let a host start no more runs. What runs there goes on to its end; what is queued starts on others that can
    run it. In a store that hosts share, that outlives the host's daemon."""
    return Request(wire.DRAIN_HOST, {"host": host}, _read_host)


def undrain_host(host: str) -> Request[HostView]:
    """Let a host start runs again."""
    return Request(wire.UNDRAIN_HOST, {"host": host}, _read_host)


def forget_host(host: str, *, force: bool = False) -> Request[dict[str, Any]]:
    """Forget a host that is lost, and declare lost what ran there. Refused while it may be there, unless ``force``
    says that nothing runs there any more."""
    return Request(wire.FORGET_HOST, _given(host=host, force=force or None), _read_members)


def call(method: str, params: Mapping[str, Any] | None = None) -> Request[Any]:
    """Any method, and its result as it came."""
    return Request(method, params or {}, lambda result: result)
