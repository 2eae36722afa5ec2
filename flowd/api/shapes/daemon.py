"""The daemon itself, as callers see it."""

from typing import Annotated, Any, Literal

import msgspec

from flowd.api.params import Params
from flowd.api.shapes import View
from flowd.api.shapes.queue import PauseView

Stopping = Literal["waiting", "canceling", "killing", "keeping"]
"""What a daemon that stops does with running steps: it waits for their ends, ends them, kills them, or leaves them to
the next daemon."""


class Status(Params):
    """Whether to tell the settings, too, and all figures that Prometheus is told."""

    settings: bool = False
    metrics: bool = False


class StatusOverHttp(Params):
    """Likewise. The settings are for the daemon's own user, on the control socket."""

    metrics: bool = False


class FigureView(View):
    """A number, and what it differs in from others of its name."""

    value: float
    labels: dict[str, str] | None = None


class Prune(Params):
    """How old what is forgotten must be at least, in milliseconds; without it, the rules of ``[retention]`` say.
    ``dryRun`` only counts it. ``compact`` writes the whole database anew afterwards, or without ``olderThanMs`` does
    only that."""

    older_than_ms: Annotated[int, msgspec.Meta(ge=60_000, le=100 * 366 * 86_400_000)] | None = None
    dry_run: bool = False
    compact: bool = False


class AskingView(View):
    """A run that asks, since when, and what it says."""

    run_id: str
    since: str
    message: str | None = None


class AttentionView(View):
    """How many runs ask for a person, and the first few of them."""

    count: int
    questions: list[AskingView]


class RetentionView(View):
    """How long what has ended is kept.

    Attributes:
        rules: As people read them, in the order in which they are tried.
        looked_at: When they were last looked at; absent where nobody has since the daemon was started.
        events: How many they let go then.
        runs: Likewise.
    """

    rules: list[str]
    looked_at: str | None = None
    events: int = 0
    runs: int = 0


class OutcomesView(View):
    """How many runs ended how, by what counts: what the step or a person said before what became of the process. Each
    run counts once.

    Attributes:
        well: All that are none of the others.
        more: Which of the others are more than told, as only the newest were counted; ``well`` is too many by those.
    """

    well: int
    failed: int
    canceled: int
    blocked: int = 0
    needs_intervention: int = 0
    more: list[str] = msgspec.field(default_factory=list)


class StatusView(View):
    """What a daemon is doing. ``host`` is there only where the engine inside a local client responds, and no daemon.

    Attributes:
        stopping: What the daemon, as it stops, does with running steps: ``waiting`` for them, ``canceling``,
            ``killing``, or ``keeping`` them for the next daemon. No run starts any more then, whoever asks for that.
        runs: How many have each process status.
        outcomes: How those that ended count.
        waiting: How many of the queued runs wait for something else than a place.
        attention: Only where runs ask for a person.
        pauses: What is paused; absent where nothing is.
        waiting_for_storage: Runs whose start or end cannot be written down just now; absent when there are none.
        running: The steps under way, oldest first; the counts have them all.
        on_service_restart: There only where systemd kills running steps at a restart, as the unit's KillMode has it.
        on_service_stop: There only where a stop by systemd is not what ``onStop`` says; a restart is.
        outdated_keeper: Only where the keeper is of another version of flowd: its ``version``, where it tells, and what
            starts cannot ask of it (``lacks``). It is replaced as soon as the steps that it runs have ended.
        store: What keeps the records: its ``kind``, ``sqlite`` or ``postgresql``, and where hosts share it, its
            ``address`` without a password, and its ``schema``.
        retention: How long what has ended is kept; absent where that is for ever.
        http: The address that HTTP is served on.
        page: Where the web page is served alone, as HTTP is off and somebody has asked for it.
        manager: Who manages the daemon; absent where it was started by hand.
        troubles: What does not work while the rest does, each with ``what`` (``log``, ``http``, ``settings``, ``unit``,
            ``notices``) and ``problem``, a sentence; absent where there are none.
        settings: Every setting as a settings file spells it (``name``), with its ``value`` and its source (``origin``),
            the ``line`` that a file takes for it, the ``default`` in words, and the ``variables`` and the ``flag`` that
            set it as well, each where there is one; only where they were asked for.
        metrics: All that Prometheus is told, by the names that it is told them by; only where that was asked for.
    """

    version: str
    protocol: int
    pid: int
    state: Literal["ready", "draining"]
    workspace: str
    state_dir: str
    events: int
    runs: dict[str, int]
    outcomes: OutcomesView | None = None
    host: Literal["client"] | None = None
    stopping: Stopping | None = None
    waiting: int = 0
    attention: AttentionView | None = None
    pauses: list[PauseView] = msgspec.field(default_factory=list)
    socket: str | None = None
    started_at: str | None = None
    uptime_ms: int | None = None
    rss_bytes: int | None = None
    keeper: dict[str, Any] | None = None
    outdated_keeper: dict[str, Any] | None = None
    catalog: dict[str, int] | None = None
    waiting_for_storage: int = 0
    running: list[dict[str, Any]] | None = None
    on_stop: str | None = None
    on_service_stop: Literal["cancel"] | None = None
    on_service_restart: Literal["kill"] | None = None
    database: dict[str, int] | None = None
    store: dict[str, str] | None = None
    limits: dict[str, int] | None = None
    retention: RetentionView | None = None
    http: str | None = None
    page: str | None = None
    manager: dict[str, Any] | None = None
    troubles: list[dict[str, str]] | None = None
    settings: list[dict[str, Any]] | None = None
    metrics: dict[str, list[FigureView]] | None = None


class Parallel(Params):
    """How many runs may be under way at once: 1 to 10,000, as the setting ``max_parallel``."""

    max: Annotated[int, msgspec.Meta(ge=1, le=10_000)]


class ParallelView(View):
    """How many runs may be under way at once from now on, and how many are."""

    max_parallel: int
    running: int


class PageView(View):
    """A link to the web page, which logs its first visitor in, once and until ``expiresAt``. ``untilStop``: HTTP is
    off, and the page is there until the daemon stops, for this machine alone."""

    url: str
    expires_at: str
    until_stop: bool = False


class Drain(Params):
    """With ``off``, the daemon starts runs again."""

    off: bool = False


class DrainView(View):
    """A daemon that starts nothing more, or is ``ready`` again; ``running`` are the runs whose steps are under way.
    One that is ``stopping`` does not start runs again."""

    state: Literal["ready", "draining"]
    running: list[str]
    stopping: Stopping | None = None


class ResumeView(View):
    """How many runs no longer wait for a person."""

    runs: int


class PruneView(View):
    """What was forgotten, or would be with ``dryRun``: all that ended before ``before``, or what the rules let go.

    Attributes:
        freed_bytes: So much smaller the database became.
        free_bytes: Still free inside it, for what is stored next.
    """

    dry_run: bool
    events: int
    runs: int
    output_bytes: int
    before: str | None = None
    freed_bytes: int = 0
    free_bytes: int = 0
