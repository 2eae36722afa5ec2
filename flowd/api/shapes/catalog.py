"""The flow packages, and what they say to an event, as callers see them."""

from collections.abc import Callable, Container, Sequence
from typing import Any, Literal

from flowd.api.params import Params
from flowd.api.shapes import View
from flowd.api.shapes.findings import FindingView, finding_view
from flowd.api.shapes.watches import FlowWatchView, flow_watch_view
from flowd.domain.concurrency import Concurrency, OnBusy
from flowd.domain.event import Event
from flowd.domain.flow import BrokenPackage, Flow, Origin, Snapshot
from flowd.domain.hosts import Able, Unserved
from flowd.domain.matching import Verdict, Why
from flowd.domain.needs import When
from flowd.domain.schedule import CatchUp, Schedule
from flowd.domain.step import CODE_MODE_PROBLEM, Runner, Step
from flowd.domain.timing import NOT_BEFORE, Debounce


class Explain(Params):
    """An event to explain."""

    event: Any


class ConcurrencyView(View):
    """How many runs of a step, or rounds of a flow, may be under way at a time for each value of ``key``: JSON Pointers
    into the event. ``group`` shares the key with whoever names it, too. ``onBusy``: what becomes of who comes to a key
    that others hold."""

    key: tuple[str, ...]
    limit: int
    on_busy: OnBusy
    group: str | None = None


class DebounceView(View):
    """One run for the last of the events of a ``key``, JSON Pointers into the event, that come before it was quiet for
    ``quietMs``. After ``maxMs`` it starts though it was not; missing: it waits as long as it takes."""

    quiet_ms: int
    key: tuple[str, ...]
    max_ms: int | None = None


class StepView(View):
    """A step of a flow. Without ``triggerType`` and ``needs`` no event starts it; ``when`` is what it asks of the ends
    of its needs. ``priority`` is missing where it is 0. ``labels``: what its runs are found by, JSON Pointers into the
    event by name. ``runsOn``: labels that a host must have to run it; ``lostAfterMs`` is missing where it is the
    default. ``delayMs``: how long it waits before it starts; ``queueTimeoutMs``: how long its runs may wait for their
    turn; ``debounce``: the quiet that they wait for."""

    name: str
    runner: str
    script: str
    timeout_ms: int
    trigger_type: str | None = None
    schema: str | None = None
    cwd: str | None = None
    needs: tuple[str, ...] | None = None
    when: When | None = None
    concurrency: ConcurrencyView | None = None
    priority: int | None = None
    labels: dict[str, str] | None = None
    runs_on: tuple[str, ...] | None = None
    lost_after_ms: int | None = None
    delay_ms: int | None = None
    queue_timeout_ms: int | None = None
    debounce: DebounceView | None = None


class ScheduleDefinitionView(View):
    """A schedule as its package has it. ``flow`` is the one that it belongs to, where others are shown, too."""

    name: str
    cron: str
    timezone: str
    type: str
    catch_up: CatchUp
    flow: str | None = None


class FlowView(View):
    """A flow in force; ``stale``: its files are broken, and its last good definition is kept."""

    name: str
    version: float
    root: str
    origin: Origin
    state: Literal["ok", "stale"]
    package_hash: str
    steps: list[StepView]
    description: str | None = None
    warnings: tuple[str, ...] = ()
    concurrency: ConcurrencyView | None = None
    schedules: list[ScheduleDefinitionView] | None = None
    watches: list[FlowWatchView] | None = None


class BrokenView(View):
    """A package that cannot be used as it is on disk; ``stale``: its last good definition is in force. ``findings``:
    all that is wrong or doubtful in it; the first error is ``error``, too."""

    name: str
    root: str
    origin: Origin
    file: str
    error: str
    remedy: str
    stale: bool
    line: int | None = None
    findings: list[FindingView] | None = None


class ShadowedView(View):
    """A package that another one of the same name hides."""

    name: str
    root: str
    by: str


class ReloadedSettingsView(View):
    """What a reload made of the settings: what is in force at once, what waits for a restart, or why they could not be
    read; then those of before stay in force."""

    changed: list[str] | None = None
    waiting: list[str] | None = None
    problem: str | None = None


class CatalogView(View):
    """All flow packages. ``settings`` is there only after a reload that found some changed."""

    flows: list[FlowView]
    broken: list[BrokenView]
    shadowed: list[ShadowedView]
    settings: ReloadedSettingsView | None = None


class SchemaErrorView(View):
    """Why a payload does not fit: where, which keyword, and a sentence."""

    path: str
    keyword: str
    message: str


class VerdictView(View):
    """What one step says to an event. ``reason`` is ``matched``, or what failed first; ``missing`` are the needs that
    are not started. ``warning``: why a run of it fails all the same, or waits. ``runsOn``: labels that it
    requires of a host; ``hosts``: how many hosts start runs of it, ``hostNames``: which, where they share a store; and
    with none ``unserved``: why, as those that could are ``draining``, none has the ``labels``, or none has the
    ``package``. ``delayMs``, ``debounce`` and ``queueTimeoutMs`` as the step has them."""

    flow: str
    step: str
    matches: bool
    reason: Why
    trigger_type: str | None = None
    schema: str | None = None
    errors: list[SchemaErrorView] | None = None
    warning: str | None = None
    needs: tuple[str, ...] | None = None
    missing: tuple[str, ...] | None = None
    runs_on: tuple[str, ...] | None = None
    hosts: int | None = None
    host_names: tuple[str, ...] | None = None
    unserved: Unserved | None = None
    delay_ms: int | None = None
    queue_timeout_ms: int | None = None
    debounce: DebounceView | None = None


class ExplainView(View):
    """What every step says to an event, and the packages that could not be asked. ``notBefore``: when the event lets
    its runs start, as it says that. ``schedules`` and ``watches`` (``flow/watch``): those that send events of its
    type."""

    event_id: str
    type: str
    matched: int
    steps: list[VerdictView]
    broken: list[BrokenView]
    not_before: str | None = None
    schedules: list[ScheduleDefinitionView] | None = None
    watches: list[str] | None = None


def catalog_view(snapshot: Snapshot) -> CatalogView:
    """The catalog."""
    return CatalogView(
        flows=[flow_view(flow) for flow in snapshot.flows],
        broken=[broken_view(package) for package in snapshot.broken],
        shadowed=[ShadowedView(name=hidden.name, root=hidden.root, by=hidden.by) for hidden in snapshot.shadowed],
    )


def flow_view(flow: Flow) -> FlowView:
    """A flow in force."""
    return FlowView(
        name=flow.name,
        version=flow.version,
        root=flow.root,
        origin=flow.origin,
        state="stale" if flow.stale else "ok",
        package_hash=flow.package_hash,
        steps=[_step_view(step) for step in flow.steps],
        description=flow.description,
        warnings=tuple(flow.warnings),
        concurrency=_concurrency_view(flow.concurrency),
        schedules=[_schedule_view(schedule) for schedule in flow.schedules] or None,
        watches=[flow_watch_view(watch) for watch in flow.watches] or None,
    )


def _schedule_view(schedule: Schedule, flow: str | None = None) -> ScheduleDefinitionView:
    return ScheduleDefinitionView(
        schedule.name, schedule.cron, schedule.timezone, schedule.type, schedule.catch_up, flow
    )


def broken_view(package: BrokenPackage) -> BrokenView:
    """A package that cannot be used."""
    return BrokenView(
        name=package.name,
        root=package.root,
        origin=package.origin,
        file=package.file,
        error=package.error,
        remedy=package.remedy,
        stale=package.stale,
        line=package.line,
        findings=[finding_view(finding) for finding in package.findings] or None,
    )


def stale_sentence(snapshot: Snapshot, flows: Container[str]) -> str | None:
    """That one of these flows runs as it was before its files were broken; None where all are as they are on disk."""
    for package in snapshot.broken:
        if package.stale and package.name in flows:
            where = package.file if package.line is None else f"{package.file}:{package.line}"
            return (
                f"Flow {package.name} is broken on disk ({where}: {package.error}); its last good version runs. "
                "`flowd validate` shows all that is wrong."
            )
    return None


def explain_view(
    event: Event, verdicts: Sequence[Verdict], snapshot: Snapshot, able: Callable[[Flow, Step], Able]
) -> ExplainView:
    """What every step says to an event. ``able`` tells who can run a step."""
    return ExplainView(
        event_id=event.id,
        type=event.type,
        matched=sum(verdict.why == "matched" for verdict in verdicts),
        steps=[_verdict_view(verdict, able(verdict.flow, verdict.step)) for verdict in verdicts],
        broken=[broken_view(package) for package in snapshot.broken],
        not_before=not_before if isinstance(not_before := event.members.get(NOT_BEFORE), str) else None,
        schedules=[
            _schedule_view(schedule, flow.name)
            for flow in snapshot.flows
            for schedule in flow.schedules
            if schedule.type == event.type
        ]
        or None,
        watches=[watch.label for watch in snapshot.watches if watch.type == event.type] or None,
    )


def _step_view(step: Step) -> StepView:
    trigger = step.trigger
    return StepView(
        name=step.name,
        runner=step.runner.value,
        script=step.script,
        timeout_ms=step.timeout_ms,
        trigger_type=None if trigger is None else trigger.type,
        schema=None if trigger is None else trigger.schema,
        cwd=step.cwd,
        needs=step.needs or None,
        when=step.when if step.needs else None,
        concurrency=_concurrency_view(step.concurrency),
        priority=step.priority or None,
        labels=dict(step.labels) or None,
        runs_on=step.runs_on or None,
        lost_after_ms=step.lost_after_ms,
        delay_ms=step.delay_ms or None,
        queue_timeout_ms=step.queue_timeout_ms,
        debounce=None if step.debounce is None else _debounce_view(step.debounce),
    )


def _debounce_view(asked: Debounce) -> DebounceView:
    return DebounceView(asked.quiet_ms, asked.key, asked.max_ms)


def _concurrency_view(asked: Concurrency | None) -> ConcurrencyView | None:
    return None if asked is None else ConcurrencyView(asked.key, asked.limit, asked.on_busy, asked.group)


def _verdict_view(verdict: Verdict, able: Able) -> VerdictView:
    trigger = verdict.step.trigger
    errors = [
        SchemaErrorView(path=error.path, keyword=error.keyword, message=error.message) for error in verdict.errors
    ]
    return VerdictView(
        flow=verdict.flow.name,
        step=verdict.step.name,
        matches=verdict.why == "matched",
        reason=verdict.why,
        trigger_type=None if trigger is None else trigger.type,
        schema=None if trigger is None else trigger.schema,
        errors=errors or None,
        warning=CODE_MODE_PROBLEM if verdict.step.runner is Runner.CODE_MODE else able.problem,
        needs=verdict.step.needs or None,
        missing=verdict.missing or None,
        runs_on=verdict.step.runs_on or None,
        hosts=able.hosts,
        host_names=able.names or None,
        unserved=able.unserved,
        delay_ms=verdict.step.delay_ms or None,
        queue_timeout_ms=verdict.step.queue_timeout_ms,
        debounce=None if verdict.step.debounce is None else _debounce_view(verdict.step.debounce),
    )
