"""Flow packages as data, and the catalog snapshot that holds them. No I/O."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from graphlib import TopologicalSorter
from typing import Protocol

from flowd.domain.concurrency import Concurrency, Kind
from flowd.domain.finding import Finding, Severity, in_order, sentences
from flowd.domain.schedule import Schedule
from flowd.domain.step import Step
from flowd.domain.watches import Watch

MANIFEST = "flow.toml"
"""What a package's folder has to hold."""


class Origin(StrEnum):
    """Which root a package lies in. Installed ones win over their namesakes in the source root."""

    INSTALLED = "installed"
    SOURCE = "source"


class Where(Protocol):
    """Knows the places of one manifest's values."""

    def __call__(self, *place: str | int) -> tuple[int, int, int] | None:
        """Line, column and end column of a value, or of the nearest table around it."""
        ...


def _nowhere(*_: str | int) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Flow:
    """One package in force.

    Attributes:
        name: The manifest's name; what precedence and run ids go by.
        version: A number, as the manifest has it.
        root: Absolute path of the package's folder.
        config: The manifest's ``[config]`` table as JSON values; None when there is none.
        package_hash: ``sha256:`` over the manifest and every schema and script that it names.
        stale: The files on disk are broken; this is the last definition that was not.
        has_round_dir: Each round of it has a folder.
        is_whole: All of its scripts are there and can be started, as far as that depends on them alone.
        findings: Keys that nothing reads and other doubtful things, in the order of lines.
        where: The place of a value of its manifest, as line, column and end column; None where it is not known.
        concurrency: The key that each of its rounds takes; None without one.
        schedules: What comes by itself.
        watches: The files whose changes it makes events of.
    """

    name: str
    version: int | float
    root: str
    origin: Origin
    steps: tuple[Step, ...]
    package_hash: str
    description: str | None = None
    config: Mapping[str, object] | None = None
    stale: bool = False
    findings: tuple[Finding, ...] = ()
    is_whole: bool = True
    has_round_dir: bool = False
    concurrency: Concurrency | None = None
    schedules: tuple[Schedule, ...] = ()
    watches: tuple[Watch, ...] = ()
    where: Where = field(default=_nowhere, compare=False, repr=False)

    @property
    def warnings(self) -> tuple[str, ...]:
        """The findings as sentences."""
        return sentences(self.findings)

    def with_findings(self, more: Iterable[Finding]) -> "Flow":
        """The same flow with more to tell of it."""
        found = in_order((*self.findings, *more))
        return self if found == self.findings else replace(self, findings=found)

    def doubt(
        self,
        place: Sequence[str | int],
        code: str,
        message: str,
        remedy: str | None = None,
        suggestion: str | None = None,
    ) -> Finding:
        """A warning about a place of its manifest."""
        file = f"{self.root}/{MANIFEST}"
        return Finding(file, code, Severity.WARNING, message, remedy, suggestion, *(self.where(*place) or ()))

    def place(self, step: str, *below: str | int) -> tuple[str | int, ...]:
        """The place of a step of this name in the manifest, or of what is below it."""
        index = next((index for index, each in enumerate(self.steps) if each.name == step), 0)
        return ("steps", index, *below)

    def groups(self) -> Iterator[tuple[Kind, str, Concurrency]]:
        """What it asks for with the group of each, the flow's own first."""
        if self.concurrency is not None:
            yield "flow", self.concurrency.group or self.name, self.concurrency
        for step in self.steps:
            if step.concurrency is not None:
                yield "step", step.concurrency.group or f"{self.name}/{step.name}", step.concurrency

    def step(self, name: str) -> Step | None:
        """The step of this name, or None."""
        return next((step for step in self.steps if step.name == name), None)


@dataclass(frozen=True, slots=True)
class BrokenPackage:
    """A package that cannot be used as it is on disk.

    Attributes:
        root: Absolute path of the package's folder.
        name: Its flow's name as far as it can be told, else the folder's name.
        file: Absolute path of the file at fault.
        line: One-based line in it, or None.
        types: What its steps' triggers wait for, as far as its manifest can be read; None where it cannot.
        error: What is wrong, without file and line.
        remedy: What to do about it.
        stale: An earlier definition stays in force.
        findings: All that is wrong or doubtful in its files, in order; the first error is told by ``error``.
        draft: What is right in it, for those who look for more to tell. Never in force.
    """

    root: str
    name: str
    origin: Origin
    file: str
    error: str
    remedy: str
    line: int | None = None
    stale: bool = False
    types: tuple[str, ...] | None = None
    findings: tuple[Finding, ...] = ()
    draft: Flow | None = field(default=None, compare=False, repr=False)

    def errors(self) -> tuple[Finding, ...]:
        """All errors in its files, in order: at least the one that ``error`` tells."""
        found = tuple(one for one in self.findings if one.is_error)
        own = Finding(self.file, "broken", Severity.ERROR, self.error, self.remedy or None, line=self.line)
        return found or (own,)

    def sentence(self) -> str:
        """File, line, error and remedy in one line, as compilers write it."""
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{where}: {self.error}. {self.remedy}"


@dataclass(frozen=True, slots=True)
class ShadowedPackage:
    """A package that another one of the same name hides."""

    name: str
    root: str
    by: str


def _in_order(flow: Flow) -> tuple[Step, ...]:
    steps = {step.name: step for step in flow.steps}
    order = TopologicalSorter({step.name: step.needs for step in flow.steps}).static_order()
    return tuple(steps[name] for name in order)


@dataclass(frozen=True)
class Snapshot:
    """The whole catalog at one moment. Immutable; swapped whole, so a dispatch sees one state of it.

    Attributes:
        flows: In discovery order, which is also the order of matches and run ids.
        tasks: Of the workspace, where these are to be run.
    """

    flows: tuple[Flow, ...] = ()
    broken: tuple[BrokenPackage, ...] = ()
    shadowed: tuple[ShadowedPackage, ...] = ()
    tasks: tuple[Schedule, ...] = ()

    @cached_property
    def by_name(self) -> Mapping[str, Flow]:
        """Flows by name."""
        return {flow.name: flow for flow in self.flows}

    @cached_property
    def linked(self) -> Mapping[str, tuple[Step, ...]]:
        """The steps of each flow that has needs, by its name; each step behind those that it needs."""
        return {flow.name: _in_order(flow) for flow in self.flows if any(step.needs for step in flow.steps)}

    @cached_property
    def has_order_between_events(self) -> bool:
        """Whether anything has a key or a priority, so that runs of one event may have to do with those of others."""
        return bool(self.key_limits) or any(step.priority for flow in self.flows for step in flow.steps)

    @cached_property
    def watches(self) -> tuple[Watch, ...]:
        """The watches of all flows."""
        return tuple(watch for flow in self.flows for watch in flow.watches)

    @cached_property
    def has_labels(self) -> bool:
        """Whether runs of any step have labels."""
        return any(step.labels for flow in self.flows for step in flow.steps)

    @cached_property
    def has_timings(self) -> bool:
        """Whether any step asks for anything of times."""
        return any(
            step.delay_ms or step.queue_timeout_ms or step.debounce for flow in self.flows for step in flow.steps
        )

    @cached_property
    def key_limits(self) -> Mapping[tuple[Kind, str], int]:
        """How many may hold a key of a group at a time: the smallest limit that anybody declares for it."""
        limits: dict[tuple[Kind, str], int] = {}
        for flow in self.flows:
            for kind, group, asked in flow.groups():
                limits[kind, group] = min(asked.limit, limits.get((kind, group), asked.limit))
        return limits

    @cached_property
    def _exact(self) -> Mapping[str, tuple[tuple[int, Flow, Step], ...]]:
        index: dict[str, list[tuple[int, Flow, Step]]] = {}
        for order, flow, step in self._triggered():
            assert step.trigger is not None
            if step.trigger.prefix is None:
                index.setdefault(step.trigger.type, []).append((order, flow, step))
        return {event_type: tuple(found) for event_type, found in index.items()}

    @cached_property
    def _prefixed(self) -> tuple[tuple[int, Flow, Step], ...]:
        return tuple(
            entry for entry in self._triggered() if entry[2].trigger is not None and entry[2].trigger.prefix is not None
        )

    def _triggered(self) -> Iterable[tuple[int, Flow, Step]]:
        order = 0
        for flow in self.flows:
            for step in flow.steps:
                order += 1
                if step.trigger is not None:
                    yield order, flow, step

    def candidates(self, event_type: str) -> list[tuple[Flow, Step]]:
        """Steps whose trigger type fits, in discovery order. Costs the same however many packages there are."""
        found = list(self._exact.get(event_type, ()))
        for entry in self._prefixed:
            trigger = entry[2].trigger
            if trigger is not None and trigger.prefix is not None and event_type.startswith(trigger.prefix):
                found.append(entry)
        found.sort(key=lambda entry: entry[0])
        return [(flow, step) for _, flow, step in found]
