"""Reads ``needs`` and ``when`` of ``[[steps]]``, and checks that a flow's steps can follow each other."""

from collections.abc import Mapping

from flowd.catalog.table import Table, kind_of
from flowd.domain.flow import Step, Trigger
from flowd.domain.needs import WHENS, When

_REMEDY = 'Write the names of steps of this flow: needs = ["checkout"].'


def read_needs(step: Table) -> tuple[str, ...]:
    """The names of the steps that a step needs. `check_needs` asks whether there are such steps.

    Raises:
        ManifestError: It is no list of names, or has one twice.
    """
    names = step.values.get("needs", [])
    if not isinstance(names, list):
        step.fail("needs", f"needs must be a list of steps, got {kind_of(names)}", _REMEDY)
    for place, name in enumerate(names):
        if not isinstance(name, str) or not name.strip():
            step.fail("needs", f"needs must hold names of steps, got {kind_of(name)}", _REMEDY)
        if name in names[:place]:
            step.fail("needs", f"needs has {kind_of(name)} twice", "Name each step once.")
    return tuple(names)


def read_when(step: Table) -> When:
    """What a step asks of the ends of its needs.

    Raises:
        ManifestError: It is unknown, or the step has no needs.
    """
    given = step.values.get("when")
    if given is None:
        return "success"
    if not step.values.get("needs"):
        step.fail("when", "when asks how needs ended, and this step has none", 'Add needs = ["…"], or remove when.')
    found = [when for when in WHENS if when == given]
    if not found:
        step.fail("when", f"when {kind_of(given)} is unknown", f"Use one of {', '.join(WHENS)}.")
    return found[0]


def check_needs(steps: Mapping[str, Step], tables: Mapping[str, Table]) -> None:
    """Check the needs of a flow's steps against each other.

    Raises:
        ManifestError: A step needs itself, one that there is not, or one that needs it; or no event can start it
            together with what it needs.
    """
    for step in steps.values():
        for need in step.needs:
            if need == step.name:
                tables[step.name].fail("needs", "needs the step itself", "Remove its name.")
            if need not in steps:
                names = ", ".join(name for name in steps if name != step.name) or "none"
                tables[step.name].fail(
                    "needs", f"needs {kind_of(need)}, which is no step of this flow", f"Its other steps: {names}."
                )
    triggers: dict[str, tuple[Trigger, ...]] = {}
    for step in _in_order(steps, tables):
        triggers[step.name] = _triggers(step, triggers, tables[step.name])


def _in_order(steps: Mapping[str, Step], tables: Mapping[str, Table]) -> list[Step]:
    """The steps, each behind those that it needs."""
    done: dict[str, Step] = {}
    left = dict(steps)
    while left:
        free = [step for step in left.values() if all(need in done for need in step.needs)]
        if not free:
            circle = _circle(left)
            told = " -> ".join([*circle, circle[0]])
            tables[circle[0]].fail("needs", f"needs go in a circle: {told}", "Remove one of these needs.")
        for step in free:
            done[step.name] = left.pop(step.name)
    return list(done.values())


def _circle(steps: Mapping[str, Step]) -> list[str]:
    """A circle among steps each of which needs another one of them; it begins with the first in the manifest."""
    way: list[str] = [next(iter(steps))]
    while True:
        following = next(need for need in steps[way[-1]].needs if need in steps)
        if following in way:
            circle = way[way.index(following) :]
            first = next(name for name in steps if name in circle)
            return circle[circle.index(first) :] + circle[: circle.index(first)]
        way.append(following)


def _triggers(step: Step, known: Mapping[str, tuple[Trigger, ...]], table: Table) -> tuple[Trigger, ...]:
    """All triggers that have to match where a step is to run: its own, and those of all above it."""
    found = {} if step.trigger is None else {step.trigger.type: step.trigger}
    for need in step.needs:
        if not known[need]:
            message = f"needs {kind_of(need)}, which no event starts: it has neither a trigger nor needs"
            table.fail("needs", message, "Give that step a trigger.")
        for trigger in known[need]:
            other = next((one for one in found.values() if not _can_match_one_event(one, trigger)), None)
            if other is not None:
                message = f"can never run: it would take an event of both types {other.type} and {trigger.type}"
                table.fail("needs", message, "Give the steps triggers that one event can match.")
            found.setdefault(trigger.type, trigger)
    return tuple(found.values())


def _can_match_one_event(one: Trigger, other: Trigger) -> bool:
    if one.prefix is None:
        return other.fits(one.type)
    if other.prefix is None:
        return one.fits(other.type)
    return one.prefix.startswith(other.prefix) or other.prefix.startswith(one.prefix)
