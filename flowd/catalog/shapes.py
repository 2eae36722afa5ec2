"""The shape of a ``flow.toml``: everything that it may say. Its reader takes keys, ranges, choices and defaults from
here; the JSON Schema and the reference of its keys are made of it.

A schema is for editors, and says no less than the reader: what it refuses is refused there, or warned of.
"""

from typing import Annotated, Any, Literal

from flowd.catalog.step_shapes import (
    ArgTable,
    ConcurrencyTable,
    DebounceTable,
    HostLabels,
    InputTable,
    LimitsTable,
    Line,
    Name,
    Pointer,
    RetryTable,
    Text,
    TriggerTable,
    Wait,
)
from flowd.domain.event import MAX_TYPE_CHARS
from flowd.domain.hosts import MAX_LOST_AFTER_MS, MIN_LOST_AFTER_MS
from flowd.domain.inputs import MAX_ARGS
from flowd.domain.labels import MAX_LABELS
from flowd.domain.needs import When
from flowd.domain.schedule import CatchUp
from flowd.domain.step import DEFAULT_GRACE_MS, DEFAULT_TIMEOUT_MS, MAX_TIMEOUT_MS, Runner
from flowd.domain.timing import MAX_WAIT_MS
from flowd.domain.watches import DEFAULT_SETTLE_MS, MAX_SETTLE_MS, MIN_SETTLE_MS
from flowd.formats.typed import About, Meta, Struct

MAX_GRACE_MS = 3_600_000
MAX_WATCHES = 50
MAX_PATTERNS = 100
MAX_NAME_CHARS = 100


class StepTable(Struct):
    """``[[steps]]``: what is run, and when."""

    name: Annotated[Name, About("What it is called, in the flow once.", example='"a-name"')]
    runner: Annotated[
        Literal[tuple(runner.value for runner in Runner)],  # type: ignore[valid-type]
        About("How the script becomes a command; `exec` runs it as it is.", example='"exec"'),
    ]
    script: Annotated[Name, About("The script, relative to the package.", example='"path/to/script"')]
    args: Annotated[
        tuple[Text | ArgTable, ...],
        Meta(max_length=MAX_ARGS, description='a list of texts and of tables like { pointer = "/payload/tag" }'),
        About("What the script is called with.", default="nothing", example='["--tag", { pointer = "/payload/tag" }]'),
    ] = ()
    cwd: Annotated[
        Line | None,
        About("The folder it runs in; `@` is the workspace.", default="that of the package", example='"@"'),
    ] = None
    trigger: Annotated[TriggerTable | None, About("Which events start it.")] = None
    needs: Annotated[
        tuple[Name, ...],
        Meta(description="a list of steps of this flow"),
        About("Steps that have to end before it starts.", default="none", example='["checkout"]'),
    ] = ()
    when: Annotated[When, About("How its needs have to end.")] = "success"
    env: Annotated[
        Annotated[
            dict[Annotated[str, Meta(pattern=r"^[^=\x00]+$")], Text | InputTable],
            Meta(description='a table of texts, and of tables like { pointer = "/payload/tag" }'),
        ]
        | None,
        About("Variables of its environment.", default="none", example='{ TAG = { pointer = "/payload/tag" } }'),
    ] = None
    timeout_ms: Annotated[
        float,
        Meta(gt=0, le=MAX_TIMEOUT_MS, description=f"milliseconds up to {MAX_TIMEOUT_MS}"),
        About("How long an attempt may take; then it is ended, and has failed.", example="60000"),
    ] = DEFAULT_TIMEOUT_MS
    grace_ms: Annotated[
        int, Meta(ge=0, le=MAX_GRACE_MS), About("Milliseconds from SIGTERM to SIGKILL when it is ended.")
    ] = DEFAULT_GRACE_MS
    retry: Annotated[RetryTable | None, About("Attempts after one that failed; without it, there is one.")] = None
    concurrency: Annotated[ConcurrencyTable | None, About("How many runs of it are under way at the same time.")] = None
    priority: Annotated[
        int, Meta(ge=-1_000, le=1_000), About("Of the runs that are ready, those of the highest are started first.")
    ] = 0
    delay_ms: Annotated[
        int, Meta(ge=0, le=MAX_WAIT_MS), About("Milliseconds from the event, or the end of its needs, to its start.")
    ] = 0
    queue_timeout_ms: Annotated[
        Wait | None, About("Milliseconds that it may wait for its turn; then it has failed.", default="no end")
    ] = None
    debounce: Annotated[DebounceTable | None, About("Wait until events come no more, and run for the last one.")] = None
    labels: Annotated[
        Annotated[
            dict[Annotated[str, Meta(pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,62}$")], Pointer],
            Meta(max_length=MAX_LABELS, description="a table of JSON Pointers into the event"),
        ]
        | None,
        About("What its runs can be found by.", default="none", example='{ repo = "/payload/repo" }'),
    ] = None
    limits: Annotated[LimitsTable | None, About("What it may use of the machine.")] = None
    detach: Annotated[bool, About("It has ended when its own process has; what it started may go on.")] = False
    runs_on: Annotated[
        HostLabels, About("The labels that a host needs to run it.", default="none", example='["gpu"]')
    ] = ()
    lost_after_ms: Annotated[
        Annotated[int, Meta(ge=MIN_LOST_AFTER_MS, le=MAX_LOST_AFTER_MS)] | None,
        About(
            "Milliseconds without a word from its host, after which the run is lost.",
            default="two minutes, or three times `grace_ms`",
        ),
    ] = None


class ScheduleTable(Struct):
    """``[[schedules]]``: an event that comes by the clock."""

    name: Annotated[Name, About("What it is called, in the flow once.", example='"every-night"')]
    cron: Annotated[Name, About("When it comes: minute, hour, day, month, weekday.", example='"30 2 * * *"')]
    type: Annotated[
        Annotated[Name, Meta(max_length=MAX_TYPE_CHARS)], About("The type of its event.", example='"an.event.type"')
    ]
    timezone: Annotated[
        Name, Meta(description="the name of a time zone"), About("By whose clock.", example='"Europe/Berlin"')
    ] = "UTC"
    payload: Annotated[Any, About("Of its event.", default="`{}`", example='{ site = "blog" }')] = None
    catch_up: Annotated[
        CatchUp, About("What becomes of the times at which no daemon was there: `latest` makes up for the last one.")
    ] = "latest"


class WatchTable(Struct):
    """``[[watches]]``: an event when files change."""

    name: Annotated[
        Annotated[Name, Meta(max_length=MAX_NAME_CHARS)],
        About("What it is called, in the flow once; without a slash.", example='"sources"'),
    ]
    paths: Annotated[
        tuple[str, ...],
        Meta(min_length=1, max_length=MAX_PATTERNS, description="a list of patterns"),
        About(
            "Patterns as in a `.gitignore`, relative to the workspace; one that begins with `!` leaves files out.",
            example='["src/**", "!src/gen/**"]',
        ),
    ]
    type: Annotated[
        Annotated[Name, Meta(max_length=MAX_TYPE_CHARS)], About("The type of its event.", example='"source.changed"')
    ]
    settle_ms: Annotated[
        int,
        Meta(ge=MIN_SETTLE_MS, le=MAX_SETTLE_MS),
        About("Milliseconds without another change, after which it is told."),
    ] = DEFAULT_SETTLE_MS
    gitignore: Annotated[bool, About("Leave out what a `.gitignore` of the workspace leaves out.")] = True


class GuidanceTable(Struct):
    """``[guidance]``: nothing reads it here."""

    skills: Annotated[Any, About("Of the TypeScript system: nothing reads it here.")] = None


class FlowTable(Struct, kw_only=True):
    """A ``flow.toml``."""

    name: Annotated[Name, About("What the flow is called, in the workspace once.", example='"a-name"')]
    version: Annotated[float, Meta(description="a number"), About("Of the package, for people.", example="1")]
    description: Annotated[str | None, About("What it is for.", example='"Builds and publishes a release."')] = None
    steps: Annotated[
        tuple[StepTable, ...],
        Meta(min_length=1, description="tables, each begun with [[steps]]"),
        About("What it runs: `[[steps]]`."),
    ]
    schedules: Annotated[
        tuple[ScheduleTable, ...],
        Meta(description="tables, each begun with [[schedules]]"),
        About("Events that come by the clock: `[[schedules]]`.", default="none"),
    ] = ()
    watches: Annotated[
        tuple[WatchTable, ...],
        Meta(max_length=MAX_WATCHES, description="tables, each begun with [[watches]]"),
        About("Events when files change: `[[watches]]`.", default="none"),
    ] = ()
    concurrency: Annotated[ConcurrencyTable | None, About("How many whole rounds are under way at the same time.")] = (
        None
    )
    runs_on: Annotated[
        HostLabels, About("The labels that a host needs to run its steps.", default="none", example='["gpu"]')
    ] = ()
    round_dir: Annotated[bool, About("Give the steps of a round a folder in common.")] = False
    config: Annotated[
        dict[str, Any] | None, About("What steps are told as it stands here.", example='{ channel = "stable" }')
    ] = None
    guidance: Annotated[GuidanceTable | None, About("Of the TypeScript system: nothing reads it here.")] = None
