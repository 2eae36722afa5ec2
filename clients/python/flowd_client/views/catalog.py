"""The flow packages, and what they say to an event, as a client sees them."""

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from flowd_client.views.frozen import frozen
from flowd_client.views.reading import Members, called, members, read
from flowd_client.views.watch import FlowWatchView


@frozen
class StepView:
    """A step of a flow. Without ``trigger_type`` and ``needs`` no event starts it.

    Attributes:
        when: What it asks of the ends of its needs; None without needs.
        concurrency: How many of its runs may be under way at a time: ``{"key": [pointer, …], "limit", "onBusy",
            "group"}``.
        priority: Of what could start, the higher comes first; None is 0.
        labels: What its runs are found by: JSON Pointers into the event, by name; None without any.
        runs_on: Labels that a host must have to run it.
        lost_after_ms: How long nothing is heard of its host until that is taken for lost; None is the default.
        delay_ms: How long it waits after the last step that it needs, else after its event; None: it does not.
        queue_timeout_ms: How long its runs may wait for their turn; None for as long as it takes.
        debounce: The quiet that its runs wait for: ``{"quietMs", "maxMs", "key": [pointer, …]}``; None for none.
    """

    name: str
    runner: str | None
    script: str | None
    timeout_ms: int | None
    trigger_type: str | None
    schema: str | None
    cwd: str | None
    needs: tuple[str, ...]
    when: str | None
    concurrency: Members | None = field(default=None, hash=False)
    priority: int | None = None
    labels: Members | None = field(default=None, hash=False)
    runs_on: tuple[str, ...] = ()
    lost_after_ms: int | None = None
    delay_ms: int | None = None
    queue_timeout_ms: int | None = None
    debounce: Members | None = field(default=None, hash=False)


@frozen
class ScheduleDefinitionView:
    """A schedule as its package has it; ``flow`` is the one that it belongs to, where others are shown, too."""

    name: str
    cron: str
    timezone: str
    type: str
    catch_up: str
    flow: str | None = None


@frozen
class FlowView:
    """A flow in force. ``state`` is ``ok``, or ``stale``: its files are broken, an earlier definition is kept.

    Attributes:
        concurrency: How many of its rounds may be under way at a time, as of a step.
        watches: The files whose changes it makes events of.
    """

    name: str
    version: float | None
    root: str | None
    origin: str | None
    state: str = field(metadata=called("state", default="ok"))
    description: str | None
    package_hash: str | None
    steps: tuple[StepView, ...]
    warnings: tuple[str, ...]
    concurrency: Members | None = field(hash=False)
    raw: Mapping[str, Any] = field(repr=False, compare=False)
    schedules: tuple[ScheduleDefinitionView, ...] = ()
    watches: tuple[FlowWatchView, ...] = ()


@frozen
class FindingView:
    """One thing that is wrong (``error``) or doubtful (``warning``) in a file. Lines and columns count from 1.

    Attributes:
        code: A slug that stays the same when the message is reworded.
        end_column: The first column behind it.
        suggestion: What was probably meant.
    """

    path: str
    line: int | None
    column: int | None
    end_column: int | None
    severity: str
    code: str
    message: str
    remedy: str | None
    suggestion: str | None

    def sentence(self) -> str:
        """All of it in one line, as compilers write it."""
        where = ":".join(str(part) for part in (self.path, self.line, self.column) if part is not None)
        told = f"{self.message}." if self.suggestion is None else f"{self.message}; did you mean {self.suggestion}?"
        return f"{where}: {told} {self.remedy or ''}".rstrip()


@frozen
class BrokenView:
    """A package that cannot be used as it is on disk; ``is_stale`` when an earlier definition stays in force.

    Attributes:
        findings: All that is wrong or doubtful in it; the first error is ``error``, too. Empty from an older daemon.
    """

    name: str
    root: str | None
    origin: str | None
    file: str
    line: int | None
    error: str
    remedy: str
    is_stale: bool = field(metadata=called("stale"))
    findings: tuple[FindingView, ...] = ()

    def sentences(self) -> tuple[str, ...]:
        """A sentence for each error, with its place."""
        return tuple(one.sentence() for one in self.findings if one.severity == "error") or (self.sentence(),)

    def sentence(self) -> str:
        """File, line, error and remedy in one line, as compilers write it."""
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{where}: {self.error}. {self.remedy}".rstrip()


@frozen
class ShadowedView:
    """A package that another one of the same name hides."""

    name: str
    root: str
    by: str


@frozen
class CatalogView:
    """All flow packages. ``settings`` is there only after a reload that found some changed: which, and what of them."""

    flows: tuple[FlowView, ...]
    broken: tuple[BrokenView, ...]
    shadowed: tuple[ShadowedView, ...]
    settings: Members | None = field(hash=False)
    raw: Mapping[str, Any] = field(repr=False, compare=False)


@frozen
class SchemaErrorView:
    """Why a payload does not fit: where (``$.a[0]``), which keyword, and a sentence."""

    path: str = field(metadata=called("path", default="$"))
    keyword: str
    message: str


@frozen
class VerdictView:
    """What one step says to an event. ``reason``: matched, no_trigger, type, schema or needs.

    Attributes:
        missing: The needs that are not started.
        warning: Why a run of it fails all the same, or waits.
        runs_on: Labels that a host must have to run it.
        hosts: How many hosts start runs of it.
        host_names: Which, where hosts share a store.
        unserved: Why none does: ``draining``, ``labels`` or ``package``; None where one does.
        delay_ms: As of a `StepView`; so are ``queue_timeout_ms`` and ``debounce``.
    """

    flow: str
    step: str
    matches: bool
    reason: str
    trigger_type: str | None
    schema: str | None
    errors: tuple[SchemaErrorView, ...]
    warning: str | None
    needs: tuple[str, ...]
    missing: tuple[str, ...]
    runs_on: tuple[str, ...] = ()
    hosts: int | None = None
    unserved: str | None = None
    host_names: tuple[str, ...] = ()
    delay_ms: int | None = None
    queue_timeout_ms: int | None = None
    debounce: Members | None = field(default=None, hash=False)


@frozen
class ExplainView:
    """What every step says to an event, and the packages that could not be asked. ``not_before``: when the event lets
    its runs start, as it says that. ``schedules`` and ``watches`` (``flow/watch``): those that send events of its
    type."""

    event_id: str | None
    type: str | None
    matched: int
    steps: tuple[VerdictView, ...]
    broken: tuple[BrokenView, ...]
    raw: Mapping[str, Any] = field(repr=False, compare=False)
    not_before: str | None = None
    schedules: tuple[ScheduleDefinitionView, ...] = ()
    watches: tuple[str, ...] = ()


def read_catalog(response: object) -> CatalogView:
    """The catalog from the response of flow.listFlows or daemon.reload."""
    return read(CatalogView, members(response))


def read_explain(response: object) -> ExplainView:
    """The verdicts from the response of flow.explain."""
    return read(ExplainView, members(response))
