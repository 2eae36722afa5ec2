"""Which steps an event starts, and why the others do not."""

from dataclasses import dataclass
from typing import Literal

from flowd.domain.event import Event
from flowd.domain.flow import Flow, SchemaError, Snapshot, Step

Why = Literal["matched", "no_trigger", "type", "schema"]


@dataclass(frozen=True, slots=True)
class Match:
    """A step that the event starts."""

    flow: Flow
    step: Step


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one step says to an event.

    Attributes:
        why: ``matched``, or the first thing that failed: no trigger, another type, the payload's schema.
        errors: Why the schema refused; empty unless ``why`` is ``schema``.
    """

    flow: Flow
    step: Step
    why: Why
    errors: tuple[SchemaError, ...] = ()


def match(snapshot: Snapshot, event: Event) -> list[Match]:
    """The steps that the event starts, in discovery order."""
    return [
        Match(flow, step)
        for flow, step in snapshot.candidates(event.type)
        if step.trigger is not None and (step.trigger.check is None or not step.trigger.check(event.payload))
    ]


def explain(snapshot: Snapshot, event: Event) -> list[Verdict]:
    """What every step says to the event, in discovery order."""
    return [_verdict(flow, step, event) for flow in snapshot.flows for step in flow.steps]


def _verdict(flow: Flow, step: Step, event: Event) -> Verdict:
    trigger = step.trigger
    if trigger is None:
        return Verdict(flow, step, "no_trigger")
    prefix = trigger.prefix
    if not (event.type == trigger.type if prefix is None else event.type.startswith(prefix)):
        return Verdict(flow, step, "type")
    errors = tuple(trigger.check(event.payload)) if trigger.check else ()
    return Verdict(flow, step, "schema", errors) if errors else Verdict(flow, step, "matched")
