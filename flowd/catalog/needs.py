"""Reads ``needs`` and ``when`` of ``[[steps]]``, and checks that a flow's steps can follow each other."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

from flowd.catalog.table import ManifestError, Table, kind_of
from flowd.domain.needs import WHENS, When
from flowd.domain.step import Step, Trigger
from flowd.formats.guesses import near_word

_MAX_NAMES_CHARS = 500
_REMEDY = 'Write the names of steps of this flow: needs = ["checkout"].'


def read_needs(step: Table) -> tuple[str, ...]:
    """The names of the steps that a step needs. `check_needs` asks whether there are such steps.

    Raises:
        ManifestError: It is no list of names, or has one twice.
    """
    names = step.values.get("needs", [])
    if not isinstance(names, list):
        is_name = isinstance(names, str) and names.strip()
        remedy = f"Write needs = [{kind_of(names)}]." if is_name else _REMEDY
        step.fail("needs", f"needs must be a list of steps, got {kind_of(names)}", remedy)
    seen: set[str] = set()
    for index, name in enumerate(names):
        if not isinstance(name, str) or not name.strip():
            step.fail("needs", f"needs must hold names of steps, got {kind_of(name)}", _REMEDY, member=(index,))
        if name in seen:
            step.fail("needs", f"needs has {kind_of(name)} twice", "Name each step once.", member=(index,))
        seen.add(name)
    return tuple(names)


def read_when(step: Table) -> When:
    """What a step asks of the ends of its needs.

    Raises:
        ManifestError: The step has no needs.
    """
    given = step.values.get("when")
    if given is None:
        return "success"
    if not step.values.get("needs"):
        step.fail("when", "when asks how needs ended, and this step has none", 'Add needs = ["…"], or remove when.')
    return step.choice("when", WHENS, "when")


def check_needs(steps: Sequence[tuple[Step, Table]], doubtful: Collection[str] = ()) -> None:
    """Check the needs of a flow's steps against each other. An error is noted where a step needs itself, one that there
    is not, or one that needs it; or where no event can start it together with what it needs.

    Args:
        steps: Each with where it stands. Two may have one name, which is told elsewhere.
        doubtful: Names of steps that could not be read as they were meant, with which the order cannot be judged; ""
            is one without a name, which may be the one that another step needs.
    """
    tables = {step.name: table for step, table in steps}
    are_known = [_are_known(step, tables, table, doubtful) for step, table in steps]
    order = _in_order(steps)
    if not all(are_known) or doubtful or len(tables) < len(steps):
        return
    triggers: dict[str, Trigger] = {}
    unclear: set[str] = set()
    for step in order:
        if not unclear.isdisjoint(step.needs):
            unclear.add(step.name)
            continue
        try:
            trigger = _strictest(step, triggers, tables[step.name])
        except ManifestError:
            unclear.add(step.name)
            continue
        if trigger is not None:
            triggers[step.name] = trigger


def _are_known(step: Step, steps: Collection[str], table: Table, doubtful: Collection[str]) -> bool:
    is_fine = True
    for index, need in enumerate(step.needs):
        others = [name for name in steps if name != step.name]
        if need == step.name:
            table.error("needs", "needs the step itself", "Remove its name.", code="needs-circle", member=(index,))
        elif need not in steps and "" not in doubtful:
            table.error(
                "needs",
                f"needs {kind_of(need)}, which is no step of this flow",
                f"Its other steps: {(', '.join(others) or 'none')[:_MAX_NAMES_CHARS]}.",
                code="unknown-step",
                member=(index,),
                suggestion=near_word(need, others),
            )
        else:
            continue
        is_fine = False
    return is_fine


def _in_order(steps: Sequence[tuple[Step, Table]]) -> Iterable[Step]:
    """The steps, each behind those that it needs; none where some need each other."""
    graph: dict[str, set[str]] = {step.name: set() for step, _ in steps}
    for step, _ in steps:
        graph[step.name] |= graph.keys() & {*step.needs} - {step.name}
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        circle: list[str] = error.args[1][:0:-1]  # each needs the next one
        first = circle.index(next(name for name in graph if name in circle))
        told = [*circle[first:], *circle[:first], circle[first]]
        table = next(table for step, table in steps if step.name == told[0] and told[1] in step.needs)
        message = f"needs go in a circle: {' -> '.join(told)}"
        table.error("needs", message, "Remove one of these needs.", code="needs-circle")
        return []
    by_name = {step.name: step for step, _ in steps}
    return [by_name[name] for name in order]


def _strictest(step: Step, known: Mapping[str, Trigger], table: Table) -> Trigger | None:
    """The trigger which an event that starts a step matches, and by which it matches those of all above it, too."""
    found = step.trigger
    for index, need in enumerate(step.needs):
        above = known.get(need)
        if above is None:
            message = f"needs {kind_of(need)}, which no event starts: it has neither a trigger nor needs"
            table.fail("needs", message, "Give that step a trigger.", code="never-runs", member=(index,))
        both = above if found is None else _stricter(found, above)
        if found is not None and both is None:
            message = f"can never run: it takes an event of type {found.type}, and its need {need} one of {above.type}"
            remedy = "Give them triggers that one event can match."
            table.fail("needs", message, remedy, code="never-runs", member=(index,))
        found = both
    return found


def _stricter(one: Trigger, other: Trigger) -> Trigger | None:
    """Of two triggers that one event can match, the one that fewer events match; None where no event matches both."""
    for strict, wide in ((one, other), (other, one)):
        if strict.prefix is None and wide.fits(strict.type):
            return strict
        if strict.prefix is not None and wide.prefix is not None and strict.prefix.startswith(wide.prefix):
            return strict
    return None
