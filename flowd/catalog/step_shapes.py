"""The shapes of the tables of a step in a ``flow.toml``, and of values in it. See `flowd.catalog.shapes`."""

from typing import Annotated, ClassVar, Literal

from flowd.domain.concurrency import OnBusy
from flowd.domain.hosts import LABEL_PATTERN, LABEL_RULE
from flowd.domain.retry import MAX_DELAY_MS, ON_RESULTS
from flowd.domain.run import UNSTARTED, Reason
from flowd.domain.timing import MAX_WAIT_MS
from flowd.formats.typed import About, Meta, Struct

MAX_POINTERS = 20
MAX_GROUP_CHARS = 200

# A canceled run stays canceled: another attempt would undo what its caller, or a younger run's step, asked for.
_NEVER_RETRIED = {Reason.CANCELED, Reason.SUPERSEDED, Reason.CHAIN_LIMIT, *UNSTARTED}
RETRYABLE = (*(reason.value for reason in Reason if reason not in _NEVER_RETRIED), *ON_RESULTS)
RETRIED_BY_DEFAULT = (Reason.EXIT.value, Reason.SIGNAL.value, Reason.TIMEOUT.value)

SCHEMA_MODES = ("full", "subset")

_NO_CONTROLS = r"[^\x00-\x1f\x7f]"
Name = Annotated[
    str,
    Meta(
        pattern=rf"^{_NO_CONTROLS}*[^\s\x00-\x1f\x7f]{_NO_CONTROLS}*$",
        description="text that is not blank, without control characters",
    ),
]
Line = Annotated[str, Meta(pattern=rf"^{_NO_CONTROLS}*$", description="text without control characters")]
Text = Annotated[str, Meta(pattern=r"^[^\x00]*$", description="text")]
Pointer = Annotated[str, Meta(pattern=r"^(/([^~/]|~[01])*)*$", description="a JSON Pointer")]
Pointers = Annotated[
    tuple[Pointer, ...], Meta(max_length=MAX_POINTERS, description="a list of JSON Pointers into the event")
]
HostLabels = Annotated[
    tuple[Annotated[str, Meta(pattern=LABEL_PATTERN)], ...],
    Meta(description=f"a list of labels of hosts: {LABEL_RULE}"),
]
Wait = Annotated[int, Meta(ge=1, le=MAX_WAIT_MS)]


Scalar = Annotated[str | int | float | bool, Meta(description="text, a number or a boolean")]


class TriggerTable(Struct):
    """``[steps.trigger]``: which events start the step."""

    type: Annotated[
        Name,
        About(
            'The type of the events; `"release.*"` is every type that begins with `release.`.',
            example='"an.event.type"',
        ),
    ]
    schema: Annotated[
        Line | None,
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
        Pointer | None, About("Where it is in the event, or in the result of `need`.", example='"/payload/tag"')
    ] = None
    need: Annotated[str | None, About("A step of `needs`, in whose result to look.", example='"build"')] = None
    default: Annotated[Scalar | None, About("In place of what is not there.", default="the run fails")] = None
    secret: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        About("The name of a secret of the settings, alone.", example='"npm"'),
    ] = None


class ArgTable(Struct):
    """The same for an argument, which is no secret: everybody on the machine can read arguments."""

    pointer: Annotated[
        Pointer, About("Where it is in the event, or in the result of `need`.", example='"/payload/tag"')
    ]
    need: Annotated[str | None, About("A step of `needs`, in whose result to look.")] = None
    default: Annotated[Scalar | None, About("In place of what is not there.", default="the run fails")] = None


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
        Pointers,
        About(
            "So many for each value of these places of the event.",
            default="all together",
            example='["/payload/repo"]',
        ),
    ] = ()
    group: Annotated[
        Annotated[Name, Meta(max_length=MAX_GROUP_CHARS)] | None,
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

    quiet_ms: Annotated[Wait, About("Milliseconds without another event.", example="2000")]
    max_ms: Annotated[
        Wait | None,
        About(
            "Milliseconds from the first event on, after which it waits no more: `quiet_ms` or more.",
            default="no end",
            example="10000",
        ),
    ] = None
    key: Annotated[
        Pointers,
        About(
            "For each value of these places of the event by itself.", default="all together", example='["/payload/id"]'
        ),
    ] = ()
