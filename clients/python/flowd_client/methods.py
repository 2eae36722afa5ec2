"""The methods of the API, said once: name, summary, and the HTTP routes that reach them.

Dispatch, ``rpc.discover``, the HTTP server and its description, the HTTP client's requests and the reference tables of
the documentation are made of `METHODS`. Parameters and results have their types where they are checked and made: a
handler in `flowd.api` is annotated with both.
"""

from typing import Final, Literal, NamedTuple

DISPATCH: Final = "flow.dispatch"
REPLAY: Final = "flow.replay"
CANCEL_RUN: Final = "flow.cancelRun"
CANCEL_EVENT: Final = "flow.cancelEvent"
RETRY_RUN: Final = "flow.retryRun"
ATTENTION: Final = "flow.attention"
RESOLVE_RUN: Final = "flow.resolveRun"
ANSWER_RUN: Final = "flow.answerRun"
QUEUE: Final = "flow.queue"
PAUSE: Final = "flow.pause"
RESUME_FLOWS: Final = "flow.resume"
SCHEDULES: Final = "flow.schedules"
LIST_EVENTS: Final = "flow.listEvents"
GET_EVENT: Final = "flow.getEvent"
LIST_RUNS: Final = "flow.listRuns"
GET_RUN: Final = "flow.getRun"
WAIT_RUN: Final = "flow.waitRun"
WAIT_EVENT: Final = "flow.waitEvent"
READ_OUTPUT: Final = "flow.readOutput"
LIST_FLOWS: Final = "flow.listFlows"
FIND: Final = "flow.find"
WATCHES: Final = "flow.watches"
EXPLAIN: Final = "flow.explain"
SUBSCRIBE: Final = "flow.subscribe"
UNSUBSCRIBE: Final = "flow.unsubscribe"
STATUS: Final = "daemon.status"
RELOAD: Final = "daemon.reload"
DRAIN: Final = "daemon.drain"
PARALLEL: Final = "daemon.parallel"
RESUME: Final = "daemon.resume"
PRUNE: Final = "daemon.prune"
OPEN_PAGE: Final = "daemon.openPage"
HOSTS: Final = "host.list"
DRAIN_HOST: Final = "host.drain"
UNDRAIN_HOST: Final = "host.undrain"
FORGET_HOST: Final = "host.forget"
NOTICES: Final = "flow.notices"
RETRY_NOTICE: Final = "flow.retryNotice"
TEST_NOTIFIER: Final = "flow.testNotifier"
DISCOVER: Final = "rpc.discover"

UPDATE: Final = "flow.update"
"""The notification that subscribers get. It is no method: nobody calls it."""


class Route(NamedTuple):
    """Where a method is reached over HTTP.

    Attributes:
        verb: The HTTP method.
        path: A template. Its placeholders are parameters of the method; the others come in the query of a GET and in
            the body of a POST.
        scope: What a token must allow.
        status: Of the response to a request that is taken.
        media: What the response is, unless the request asks for JSON. A route of ``text/event-stream`` serves streams
            only: no plain call is made through it.
        note: Sentences about the route, in Markdown, to follow the method's summary.
    """

    verb: Literal["GET", "POST"]
    path: str
    scope: Literal["read", "dispatch", "control"]
    status: int = 200
    media: str = "application/json"
    note: str = ""


class Method(NamedTuple):
    """A method of the API.

    Attributes:
        summary: A sentence about what it does.
        routes: The first one is the one that clients use; the others are aliases. Empty: not available over HTTP.
        is_retry_safe: It may be sent again when the connection was lost before the response: it only reads, or the
            event's id makes a second call harmless.
    """

    name: str
    summary: str
    routes: tuple[Route, ...] = ()
    is_retry_safe: bool = False


_DISPATCH_NOTE = (
    "The body is the event, or `{event, wait, timeoutMs}`, or a CloudEvent. `?wait=true&timeoutMs=` waits for the runs,"
    " with `&tree=true` for all that they cause, too. `?requireMatch=true` refuses an event that starts nothing."
    " A header `traceparent` is kept with the event."
)

METHODS: Final[dict[str, Method]] = {
    method.name: method
    for method in (
        Method(
            DISPATCH,
            "Accept an event and run every step it matches.",
            (
                Route("POST", "/events", "dispatch", 202, note=_DISPATCH_NOTE),
                Route("POST", "/flow-events", "dispatch", 202, note="The same."),
            ),
            is_retry_safe=True,
        ),
        Method(
            REPLAY,
            "New runs for a stored event.",
            (
                Route(
                    "POST",
                    "/events/{eventId}/replay",
                    "dispatch",
                    202,
                    note="The body may have `wait`, `timeoutMs`, `steps`, `from` (these steps and all that need them) "
                    "and `missing` (only steps without a run yet). Naming steps needs the scope `control`, too: they "
                    "start whatever those ended as that they need.",
                ),
            ),
        ),
        Method(
            CANCEL_EVENT,
            "End every unfinished run of an event or, with `tree`, of all below it, too.",
            (Route("POST", "/events/{eventId}/cancel", "control", note="`?tree=true`, or `tree` in the body."),),
        ),
        Method(
            LIST_EVENTS,
            "Events, newest first.",
            (Route("GET", "/events", "read", note="`label=name=value` may be repeated."),),
            is_retry_safe=True,
        ),
        Method(
            GET_EVENT,
            "An event with its runs.",
            (
                Route(
                    "GET",
                    "/events/{eventId}",
                    "read",
                    note="`?tree=true` adds a page of its tree. `maxRuns`: of an event that has more, the newest.",
                ),
            ),
            is_retry_safe=True,
        ),
        Method(
            LIST_RUNS,
            "Runs, newest first.",
            (
                Route(
                    "GET",
                    "/runs",
                    "read",
                    note="`status` is a process status or a result status. `label=name=value` may be repeated. "
                    "`output=tail` adds the last 4 KiB of each stream.",
                ),
            ),
            is_retry_safe=True,
        ),
        Method(
            GET_RUN,
            "A run with its attempts and the end of its output.",
            (
                Route(
                    "GET", "/runs/{runId}", "read", note="`definition=true` adds what its last attempt was made with."
                ),
            ),
            is_retry_safe=True,
        ),
        Method(
            WAIT_RUN,
            "A run, once it has ended or the time is up.",
            (Route("GET", "/runs/{runId}/wait", "read"),),
            is_retry_safe=True,
        ),
        Method(
            WAIT_EVENT,
            "An event or its tree, once nothing of it goes on without a person or the time is up.",
            (Route("GET", "/events/{eventId}/wait", "read"),),
            is_retry_safe=True,
        ),
        Method(CANCEL_RUN, "End a run and everything it started.", (Route("POST", "/runs/{runId}/cancel", "control"),)),
        Method(
            RETRY_RUN, "Another attempt of a run that ended badly.", (Route("POST", "/runs/{runId}/retry", "control"),)
        ),
        Method(
            ATTENTION,
            "Runs that ask for a person, and what waits for the answers.",
            (Route("GET", "/attention", "read"),),
            is_retry_safe=True,
        ),
        Method(
            RESOLVE_RUN,
            "Say how a run that asks for a person counts from now on; what waits for it goes on or ends.",
            (Route("POST", "/runs/{runId}/resolve", "control", note="The body has `status`, and perhaps a `note`."),),
        ),
        Method(
            ANSWER_RUN,
            "Another attempt of a run that asks for a person, which is told the answer.",
            (Route("POST", "/runs/{runId}/answer", "control", note="The body may have an `input`, any JSON value."),),
        ),
        Method(
            READ_OUTPUT,
            "Part of what a run wrote to stdout or stderr.",
            (
                Route(
                    "GET",
                    "/runs/{runId}/output",
                    "read",
                    media="application/octet-stream",
                    note="`Range` gives 206. `follow=1` goes on until the attempt ends. "
                    "With `Accept: application/json`, the result of `flow.readOutput`.",
                ),
            ),
            is_retry_safe=True,
        ),
        Method(
            SUBSCRIBE,
            "What happens, from now on or from a cursor on.",
            (
                Route(
                    "GET",
                    "/stream",
                    "read",
                    media="text/event-stream",
                    note="Server-sent events. `Last-Event-ID` resumes where a reader was cut off.",
                ),
            ),
        ),
        Method(UNSUBSCRIBE, "End a subscription of this connection."),
        Method(
            FIND,
            "Ids of runs or events that begin so.",
            (Route("GET", "/ids", "read", note="`?prefix=run_16&of=run`"),),
            is_retry_safe=True,
        ),
        Method(
            LIST_FLOWS,
            "The flow packages in force, and the broken ones.",
            (Route("GET", "/flows", "read"),),
            is_retry_safe=True,
        ),
        Method(
            EXPLAIN,
            "Why each step matches an event or does not.",
            (Route("POST", "/explain", "read", note="The body is as for `POST /events`."),),
            is_retry_safe=True,
        ),
        Method(
            SCHEDULES,
            "What comes by itself, when it comes next, and how the last times ended.",
            (Route("GET", "/schedules", "read"),),
            is_retry_safe=True,
        ),
        Method(STATUS, "What the daemon is doing.", (Route("GET", "/status", "read"),), is_retry_safe=True),
        Method(RELOAD, "Look at the flow packages and the settings on disk now."),
        Method(DRAIN, "Start no more runs, or with `off` start them again; go on accepting events."),
        Method(
            QUEUE,
            "What is queued: who is next, and what the others wait for.",
            (Route("GET", "/queue", "read"),),
            is_retry_safe=True,
        ),
        Method(
            PAUSE,
            "Start nothing of a flow, of a step, or of all, until it is resumed; go on accepting events.",
            (Route("POST", "/pause", "control", note="The body may have `flow` and `step`."),),
        ),
        Method(
            RESUME_FLOWS,
            "End a pause.",
            (Route("POST", "/resume", "control", note="The body may have `flow` and `step`."),),
        ),
        Method(
            PARALLEL,
            "Change how many runs may be under way at once, until the next start of the daemon.",
            (Route("POST", "/parallel", "control", note="The body has `max`."),),
        ),
        Method(
            WATCHES,
            "What is watched for changes of files, on this host, and the newest event of each watch.",
            (Route("GET", "/watches", "read"),),
            is_retry_safe=True,
        ),
        Method(
            HOSTS,
            "The hosts that share the store, this one among them.",
            (Route("GET", "/hosts", "read"),),
            is_retry_safe=True,
        ),
        Method(
            DRAIN_HOST,
            "Let a host start no more runs, over restarts of its daemon, too; it goes on with what runs there.",
            (Route("POST", "/hosts/{host}/drain", "control"),),
        ),
        Method(
            UNDRAIN_HOST,
            "Let a host start runs again.",
            (Route("POST", "/hosts/{host}/undrain", "control"),),
        ),
        Method(
            FORGET_HOST,
            "Forget a host that is lost, and declare lost what ran there.",
            (Route("POST", "/hosts/{host}/forget", "control", note="The body may have `force`."),),
        ),
        Method(
            NOTICES,
            "What notifiers have told outside of flowd, and what they could not.",
            (Route("GET", "/notices", "read"),),
            is_retry_safe=True,
        ),
        Method(
            RETRY_NOTICE,
            "Send a notice now that was given up, or waits for its next try.",
            (Route("POST", "/notices/{noticeId}/retry", "control"),),
        ),
        Method(
            TEST_NOTIFIER,
            "Send a test through a notifier, and say what came back.",
            (Route("POST", "/notifiers/{notifier}/test", "control"),),
        ),
        Method(RESUME, "Start the runs that wait for a person, as their state was copied from elsewhere."),
        Method(PRUNE, "Forget old events with their runs and output."),
        Method(OPEN_PAGE, "A link to the web page that logs its first visitor in, once and within five minutes."),
        Method(DISCOVER, "This API as an OpenRPC document."),
    )
}
"""Every method by its name, in the order in which the documentation lists them."""

RETRY_SAFE: Final = frozenset(name for name, method in METHODS.items() if method.is_retry_safe)
"""Methods that may be sent again after a lost connection: those that only read, and dispatch by its event's id."""
