"""The shape of a ``flow.toml``: everything that it may say. Its reader takes keys, ranges, choices and defaults from
here; the JSON Schema and the reference of its keys are made of it.

A schema is for editors, and says no less than the reader: what it refuses is refused there, or warned of.
"""

from typing import Annotated, Any, ClassVar, Literal

from flowd.domain.concurrency import OnBusy
from flowd.domain.event import MAX_TYPE_CHARS
from flowd.domain.flow import DEFAULT_GRACE_MS, DEFAULT_TIMEOUT_MS, MAX_TIMEOUT_MS, Runner
from flowd.domain.hosts import LABEL_PATTERN, LABEL_RULE, MAX_LOST_AFTER_MS, MIN_LOST_AFTER_MS
from flowd.domain.inputs import MAX_ARGS
from flowd.domain.labels import MAX_LABELS
from flowd.domain.needs import When
from flowd.domain.retry import MAX_DELAY_MS, ON_RESULTS
from flowd.domain.run import UNSTARTED, Reason
from flowd.domain.schedule import CatchUp
from flowd.domain.timing import MAX_WAIT_MS
from flowd.domain.watches import DEFAULT_SETTLE_MS, MAX_SETTLE_MS, MIN_SETTLE_MS
from flowd.formats.typed import About, Meta, Struct

MAX_GRACE_MS = 3_600_000
MAX_POINTERS = 20
MAX_GROUP_CHARS = 200
MAX_WATCHES = 50
MAX_PATTERNS = 100
MAX_NAME_CHARS = 100

# A canceled run stays canceled: another attempt would undo what its caller, or a younger run's step, asked for.
_NEVER_RETRIED = {Reason.CANCELED, Reason.SUPERSEDED, Reason.CHAIN_LIMIT, *UNSTARTED}
RETRYABLE = (*(reason.value for reason in Reason if reason not in _NEVER_RETRIED), *ON_RESULTS)
RETRIED_BY_DEFAULT = (Reason.EXIT.value, Reason.SIGNAL.value, Reason.TIMEOUT.value)

SCHEMA_MODES = ("full", "subset")

_NO_CONTROLS = r"[^\x00-\x1f\x7f]"
_Name = Annotated[
    str,
    Meta(
        pattern=rf"^{_NO_CONTROLS}*[^\s\x00-\x1f\x7f]{_NO_CONTROLS}*$",
        description="text that is not blank, without control characters",
    ),
]
_Line = Annotated[str, Meta(pattern=rf"^{_NO_CONTROLS}*$", description="text without control characters")]
_Text = Annotated[str, Meta(pattern=r"^[^\x00]*$", description="text")]
_Pointer = Annotated[str, Meta(pattern=r"^(/([^~/]|~[01])*)*$", description="a JSON Pointer")]
_Pointers = Annotated[
    tuple[_Pointer, ...], Meta(max_length=MAX_POINTERS, description="a list of JSON Pointers into the event")
]
_HostLabels = Annotated[
    tuple[Annotated[str, Meta(pattern=LABEL_PATTERN)], ...],
    Meta(description=f"a list of labels of hosts: {LABEL_RULE}"),
]
_Wait = Annotated[int, Meta(ge=1, le=MAX_WAIT_MS)]


_Scalar = Annotated[str | int | float | bool, Meta(description="text, a number or a boolean")]


class TriggerTable(Struct):
    """``[steps.trigger]``: which events start the step."""

    type: Annotated[
        _Name,
        About(
            'The type of the events; `"release.*"` is every type that begins with `release.`.',
            example='"an.event.type"',
        ),
    ]
    schema: Annotated[
        _Line | None,
        About(
            "A JSON Schema in the package that the event's payload has to fit.",
            default="every payload",
            example='"schemas/push.json"',
        ),
    ] = None
    schema_mode: Annotated[
        Literal["full", "subset"],
        About("`subset` checks by the four keywords alone that the TypeScript system knows."),
    ] = "full"


class InputTable(Struct):
    """A value that is looked up when the step starts."""

    ONE_OF: ClassVar = ("pointer", "secret")

    pointer: Annotated[
        _Pointer | None, About("Where it is in the event, or in the result of `need`.", example='"/payload/tag"')
    ] = None
    need: Annotated[str | None, About("A step of `needs`, in whose result to look.", example='"build"')] = None
    default: Annotated[_Scalar | None, About("In place of what is not there.", default="the run fails")] = None
    secret: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        About("The name of a secret of the settings, alone.", example='"npm"'),
    ] = None


class ArgTable(Struct):
    """The same for an argument, which is no secret: everybody on the machine can read arguments."""

    pointer: Annotated[
        _Pointer, About("Where it is in the event, or in the result of `need`.", example='"/payload/tag"')
    ]
    need: Annotated[str | None, About("A step of `needs`, in whose result to look.")] = None
    default: Annotated[_Scalar | None, About("In place of what is not there.", default="the run fails")] = None


class RetryTable(Struct):
    """``[steps.retry]``: when an attempt that failed is followed by another one."""

    max_attempts: Annotated[int, Meta(ge=1, le=100), About("With the first one.", example="3")]
    on: Annotated[
        tuple[Literal[RETRYABLE], ...],  # type: ignore[valid-type]
        Meta(description=f"a list, some of {', '.join(RETRYABLE)}"),
        About(
            "What is tried again: why an attempt failed, or how its result ended.",
            default='`["exit", "signal", "timeout"]`',
            example='["exit", "timeout"]',
        ),
    ] = RETRIED_BY_DEFAULT
    delay_ms: Annotated[
        int, Meta(ge=0, le=MAX_DELAY_MS), About("Milliseconds from the end of an attempt to the second one.")
    ] = 1_000
    factor: Annotated[float, Meta(ge=1, le=100), About("So many times longer is each delay than the one before.")] = 2.0
    max_delay_ms: Annotated[
        int, Meta(ge=0, le=MAX_DELAY_MS), About("Milliseconds of the longest delay, before `jitter`.")
    ] = 3_600_000
    jitter: Annotated[
        float, Meta(ge=0, le=1), About("The share of a delay by which chance makes it longer or shorter.")
    ] = 0.1


class LimitsTable(Struct):
    """``[steps.limits]``: what a step may use of the machine."""

    # Less than 16 MiB of address space starts no program that is worth limiting.
    memory_bytes: Annotated[
        Annotated[int, Meta(ge=16 << 20, le=1 << 50)] | None,
        About(
            "Memory of the whole process tree where its cgroup has a memory controller; else address space of each "
            "process.",
            example="536870912",
        ),
    ] = None
    cpu_time_s: Annotated[
        Annotated[int, Meta(ge=1, le=7 * 86_400)] | None,
        About("Seconds of processor time of each process.", example="60"),
    ] = None
    # Of one core; the largest machines have fewer than a thousand.
    cpu_percent: Annotated[
        Annotated[int, Meta(ge=1, le=100_000)] | None,
        About("Processor time of the whole tree, 100 for one core. Only a cgroup can keep it.", example="50"),
    ] = None
    # 0, 1 and 2 are taken, and a shell wants some more.
    open_files: Annotated[
        Annotated[int, Meta(ge=8, le=1 << 20)] | None, About("Descriptors of each process.", example="256")
    ] = None
    processes: Annotated[
        Annotated[int, Meta(ge=1, le=1 << 20)] | None,
        About(
            "Processes and threads of the whole tree where its cgroup has a pids controller; else so many more than "
            "the user has.",
            example="64",
        ),
    ] = None
    file_bytes: Annotated[
        Annotated[int, Meta(ge=1, le=1 << 50)] | None,
        About("The size of any file that is written to.", example="1073741824"),
    ] = None
    niceness: Annotated[
        Annotated[int, Meta(ge=-20, le=19)] | None,
        About("How much it yields to others: 19 to everybody.", example="10"),
    ] = None
    umask: Annotated[
        Annotated[str, Meta(pattern="^0?0[0-7]{2}$", description='octal digits in quotes, like "0027"')] | None,
        About("Permission bits that new files do not get.", example='"0027"'),
    ] = None


class ConcurrencyTable(Struct):
    """``[steps.concurrency]`` or ``[concurrency]``: how many run at the same time."""

    key: Annotated[
        _Pointers,
        About(
            "So many for each value of these places of the event.",
            default="all together",
            example='["/payload/repo"]',
        ),
    ] = ()
    group: Annotated[
        Annotated[_Name, Meta(max_length=MAX_GROUP_CHARS)] | None,
        About(
            "Who has the same group shares the limit.", default="the step, or the flow, by itself", example='"a-name"'
        ),
    ] = None
    limit: Annotated[int, Meta(ge=1, le=100_000), About("How many.")] = 1
    on_busy: Annotated[
        OnBusy,
        About(
            "What becomes of one that comes while so many run: it waits (`queue`), is skipped (`skip`), ends the older "
            "one that runs (`replace`), or waits and ends the older ones that wait (`latest`)."
        ),
    ] = "queue"


class DebounceTable(Struct):
    """``[steps.debounce]``: wait until events come no more, and run for the last one."""

    quiet_ms: Annotated[_Wait, About("Milliseconds without another event.", example="2000")]
    max_ms: Annotated[
        _Wait | None,
        About(
            "Milliseconds from the first event on, after which it waits no more: `quiet_ms` or more.",
            default="no end",
            example="10000",
        ),
    ] = None
    key: Annotated[
        _Pointers,
        About(
            "For each value of these places of the event by itself.", default="all together", example='["/payload/id"]'
        ),
    ] = ()


class StepTable(Struct):
    """``[[steps]]``: what is run, and when."""

    name: Annotated[_Name, About("What it is called, in the flow once.", example='"a-name"')]
    runner: Annotated[
        Literal[tuple(runner.value for runner in Runner)],  # type: ignore[valid-type]
        About("How the script becomes a command; `exec` runs it as it is.", example='"exec"'),
    ]
    script: Annotated[_Name, About("The script, relative to the package.", example='"path/to/script"')]
    args: Annotated[
        tuple[_Text | ArgTable, ...],
        Meta(max_length=MAX_ARGS, description='a list of texts and of tables like { pointer = "/payload/tag" }'),
        About("What the script is called with.", default="nothing", example='["--tag", { pointer = "/payload/tag" }]'),
    ] = ()
    cwd: Annotated[
        _Line | None,
        About("The folder it runs in; `@` is the workspace.", default="that of the package", example='"@"'),
    ] = None
    trigger: Annotated[TriggerTable | None, About("Which events start it.")] = None
    needs: Annotated[
        tuple[_Name, ...],
        Meta(description="a list of steps of this flow"),
        About("Steps that have to end before it starts.", default="none", example='["checkout"]'),
    ] = ()
    when: Annotated[When, About("How its needs have to end.")] = "success"
    env: Annotated[
        Annotated[
            dict[Annotated[str, Meta(pattern=r"^[^=\x00]+$")], _Text | InputTable],
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
        _Wait | None, About("Milliseconds that it may wait for its turn; then it has failed.", default="no end")
    ] = None
    debounce: Annotated[DebounceTable | None, About("Wait until events come no more, and run for the last one.")] = None
    labels: Annotated[
        Annotated[
            dict[Annotated[str, Meta(pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,62}$")], _Pointer],
            Meta(max_length=MAX_LABELS, description="a table of JSON Pointers into the event"),
        ]
        | None,
        About("What its runs can be found by.", default="none", example='{ repo = "/payload/repo" }'),
    ] = None
    limits: Annotated[LimitsTable | None, About("What it may use of the machine.")] = None
    detach: Annotated[bool, About("It has ended when its own process has; what it started may go on.")] = False
    runs_on: Annotated[
        _HostLabels, About("The labels that a host needs to run it.", default="none", example='["gpu"]')
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

    name: Annotated[_Name, About("What it is called, in the flow once.", example='"every-night"')]
    cron: Annotated[_Name, About("When it comes: minute, hour, day, month, weekday.", example='"30 2 * * *"')]
    type: Annotated[
        Annotated[_Name, Meta(max_length=MAX_TYPE_CHARS)], About("The type of its event.", example='"an.event.type"')
    ]
    timezone: Annotated[
        _Name, Meta(description="the name of a time zone"), About("By whose clock.", example='"Europe/Berlin"')
    ] = "UTC"
    payload: Annotated[Any, About("Of its event.", default="`{}`", example='{ site = "blog" }')] = None
    catch_up: Annotated[
        CatchUp, About("What becomes of the times at which no daemon was there: `latest` makes up for the last one.")
    ] = "latest"


class WatchTable(Struct):
    """``[[watches]]``: an event when files change."""

    name: Annotated[
        Annotated[_Name, Meta(max_length=MAX_NAME_CHARS)],
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
        Annotated[_Name, Meta(max_length=MAX_TYPE_CHARS)], About("The type of its event.", example='"source.changed"')
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

    name: Annotated[_Name, About("What the flow is called, in the workspace once.", example='"a-name"')]
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
        _HostLabels, About("The labels that a host needs to run its steps.", default="none", example='["gpu"]')
    ] = ()
    round_dir: Annotated[bool, About("Give the steps of a round a folder in common.")] = False
    config: Annotated[
        dict[str, Any] | None, About("What steps are told as it stands here.", example='{ channel = "stable" }')
    ] = None
    guidance: Annotated[GuidanceTable | None, About("Of the TypeScript system: nothing reads it here.")] = None
