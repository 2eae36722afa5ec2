"""Which steps an event starts, and why the others do not.

A payload is checked here while that is cheap by the schema's weight and the payload's size. What may take longer comes
out as `deferred`: whoever asks makes those checks where they can be stopped, and hands the answers to `settle`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from flowd.domain.event import Event
from flowd.domain.flow import BrokenPackage, Flow, Snapshot
from flowd.domain.payload_check import PayloadCheck, SchemaError, SchemaSource
from flowd.domain.step import Step, Trigger

Why = Literal["matched", "no_trigger", "type", "schema", "needs"]

IN_PLACE_UNITS = 200_000
"""What the checks of one event may cost on the event loop, in all. A unit is 10 ns to 0.3 µs: 2 ms, 60 at worst."""

_CHARS_PER_VALUE = 64
_MAX_VALUES = 20_000


@dataclass(frozen=True, slots=True)
class Match:
    """A step that the event starts."""

    flow: Flow
    step: Step


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one step says to an event.

    Attributes:
        why: ``matched``, or the first thing that failed: no trigger, another type, the payload's schema, or a step that
            it needs and that is not started. A step with needs needs no trigger.
        errors: Why the schema refused; empty unless ``why`` is ``schema``.
        deferred: The check that has yet to be made; ``why`` is ``schema`` until then.
        is_undecided: The check did not come to an end, so nobody knows whether the step is meant.
        missing: The needs that are not started; empty unless ``why`` is ``needs``.
    """

    flow: Flow
    step: Step
    why: Why
    errors: tuple[SchemaError, ...] = ()
    deferred: SchemaSource | None = None
    is_undecided: bool = False
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What a check that was made elsewhere came to.

    Attributes:
        errors: None where it did not come to an end.
        why: Why it did not, as a sentence.
    """

    errors: tuple[SchemaError, ...] | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A share of an event that was not run, though it was or may have been meant.

    Attributes:
        flow: The flow's name, or its folder's where it is not known.
        why: What was in the way, with file and remedy.
        step: None where it is the whole package.
    """

    flow: str
    why: str
    step: str | None = None

    @property
    def label(self) -> str:
        """``flow`` or ``flow/step``."""
        return self.flow if self.step is None else f"{self.flow}/{self.step}"


MAX_LEFT_OUT = 50
"""They travel with every view of an event."""

Answers = Mapping[str, Answer]
"""By the `SchemaSource.key` of the checks that were asked for."""


def judge(snapshot: Snapshot, event: Event) -> list[Verdict]:
    """What the steps say whose trigger's type fits, in discovery order."""
    checks = _Checks(event.payload)
    return [checks.verdict(flow, step) for flow, step in snapshot.candidates(event.type)]


def explain(snapshot: Snapshot, event: Event) -> list[Verdict]:
    """What every step says to the event, in discovery order."""
    checks = _Checks(event.payload)
    return [_verdict(flow, step, event, checks) for flow in snapshot.flows for step in flow.steps]


def deferred(verdicts: Iterable[Verdict]) -> list[SchemaSource]:
    """The checks that have yet to be made, each once."""
    return list({verdict.deferred.key: verdict.deferred for verdict in verdicts if verdict.deferred}.values())


def settle(verdicts: Sequence[Verdict], answers: Answers) -> list[Verdict]:
    """The verdicts with the answers to what was deferred."""
    return [verdict if verdict.deferred is None else _settled(verdict, answers) for verdict in verdicts]


def matches(verdicts: Iterable[Verdict]) -> list[Match]:
    """The steps that are started."""
    return [Match(verdict.flow, verdict.step) for verdict in verdicts if verdict.why == "matched"]


def left_out(snapshot: Snapshot, event: Event, verdicts: Iterable[Verdict]) -> tuple[LeftOut, ...]:
    """Whose share of the event is not run.

    That is of packages that are broken and never were whole, as far as they may wait for events of this type; and of
    steps whose checks did not come to an end.
    """
    broken = [
        LeftOut(package.name, package.sentence())
        for package in snapshot.broken
        if not package.stale and package.name not in snapshot.by_name and _may_wait_for(package, event.type)
    ]
    undecided = [
        LeftOut(verdict.flow.name, verdict.errors[0].message, verdict.step.name)
        for verdict in verdicts
        if verdict.is_undecided
    ]
    found = [*undecided, *broken]
    more = len(found) - MAX_LEFT_OUT
    return tuple(found) if more <= 0 else (*found[:MAX_LEFT_OUT], LeftOut("*", f"and {more} more"))


def _may_wait_for(package: BrokenPackage, event_type: str) -> bool:
    return package.types is None or any(Trigger(found).fits(event_type) for found in package.types)


def _settled(verdict: Verdict, answers: Answers) -> Verdict:
    assert verdict.deferred is not None
    answer = answers[verdict.deferred.key]
    if answer.errors is None:
        return replace(verdict, errors=(SchemaError("$", "", answer.why),), deferred=None, is_undecided=True)
    return replace(verdict, why="schema" if answer.errors else "matched", errors=answer.errors, deferred=None)


def _verdict(flow: Flow, step: Step, event: Event, checks: "_Checks") -> Verdict:
    trigger = step.trigger
    if trigger is None:
        return Verdict(flow, step, "no_trigger")
    if not trigger.fits(event.type):
        return Verdict(flow, step, "type")
    return checks.verdict(flow, step)


class _Checks:
    """The checks of one payload, as many of them in place as are cheap together."""

    def __init__(self, payload: object) -> None:
        self._payload = payload
        self._values: int | None = None
        self._units_left = IN_PLACE_UNITS

    def verdict(self, flow: Flow, step: Step) -> Verdict:
        check = step.trigger.check if step.trigger else None
        if check is None:
            return Verdict(flow, step, "matched")
        if not self._is_affordable(check):
            return Verdict(flow, step, "schema", deferred=check.source)
        assert check.run is not None
        errors = tuple(check.run(self._payload))
        return Verdict(flow, step, "schema", errors) if errors else Verdict(flow, step, "matched")

    def _is_affordable(self, check: PayloadCheck) -> bool:
        if check.source is None:
            return True
        if check.weight > self._units_left:
            return False
        if self._values is None:
            self._values = count_values(self._payload, _MAX_VALUES)
        units = check.weight * self._values
        if self._values > _MAX_VALUES or units > self._units_left:
            return False
        self._units_left -= units
        return True


def count_values(value: object, most: int) -> int:
    """How many values there are, long strings and names counted by their length; something above ``most`` where there
    are more. Costs no more than ``most`` steps.

    >>> count_values({"a": [1, 2], "b": "x" * 640}, 100)
    16
    """
    count = 1
    left: list[Iterator[object]] = [iter((value,))]
    while left and count <= most:
        for item in left[-1]:
            if isinstance(item, str):
                count += len(item) // _CHARS_PER_VALUE
            elif isinstance(item, dict):
                count += len(item) + sum(map(len, item)) // _CHARS_PER_VALUE if len(item) <= most else most + 1
                left.append(iter(item.values()))
                break
            elif isinstance(item, list | tuple):
                count += len(item)
                left.append(iter(item))
                break
        else:
            left.pop()
    return count
