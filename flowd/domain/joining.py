"""Which steps are in a round: those that match, and those that need nothing but steps in it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby

from flowd.domain.flow import Snapshot
from flowd.domain.matching import LeftOut, Verdict
from flowd.domain.step import Step


def join(snapshot: Snapshot, verdicts: Sequence[Verdict]) -> list[Verdict]:
    """The verdicts, with those of all steps of the flows whose steps need each other, in discovery order.

    Args:
        verdicts: In discovery order, settled; of steps that were not asked, there need be none.
    """
    if not snapshot.linked:
        return list(verdicts)
    joined: list[Verdict] = []
    for name, group in groupby(verdicts, key=lambda verdict: verdict.flow.name):
        theirs, order = list(group), snapshot.linked.get(name)
        joined += theirs if order is None else _of_flow(theirs, order)
    return joined


def _of_flow(asked: Sequence[Verdict], order: Iterable[Step]) -> list[Verdict]:
    flow = asked[0].flow
    known = {verdict.step.name: verdict for verdict in asked}
    found: dict[str, Verdict] = {}
    for step in order:
        verdict = known.get(step.name) or Verdict(flow, step, "no_trigger" if step.trigger is None else "type")
        found[step.name] = _with_needs(verdict, found) if step.needs else verdict
    return [found[step.name] for step in flow.steps]


def _with_needs(verdict: Verdict, found: Mapping[str, Verdict]) -> Verdict:
    if verdict.why not in ("matched", "no_trigger"):
        return verdict
    missing = tuple(need for need in verdict.step.needs if found[need].why != "matched")
    return replace(verdict, why="needs" if missing else "matched", missing=missing)


def left_out_of_rounds(snapshot: Snapshot, verdicts: Iterable[Verdict]) -> tuple[LeftOut, ...]:
    """The steps that need a step which is started, and are left out all the same; and those that need them."""
    found: list[LeftOut] = []
    for name, theirs in groupby(verdicts, key=lambda verdict: verdict.flow.name):
        if name in snapshot.linked:
            found += _left_out({verdict.step.name: verdict for verdict in theirs}, snapshot.linked[name])
    return tuple(found)


def _left_out(verdicts: Mapping[str, Verdict], order: Iterable[Step]) -> list[LeftOut]:
    concerned = {name for name, verdict in verdicts.items() if verdict.why == "matched"}
    told: dict[str, LeftOut] = {}
    for step in order:
        verdict = verdicts[step.name]
        if verdict.why != "matched" and not concerned.isdisjoint(step.needs):
            concerned.add(step.name)
            told[step.name] = LeftOut(verdict.flow.name, why_left_out(verdict), step.name)
    return [told[name] for name in verdicts if name in told]


def why_left_out(verdict: Verdict) -> str:
    """Why a step with needs is not started, as the end of a sentence."""
    match verdict.why:
        case "needs":
            return (
                f"it needs {_listed(verdict.missing)}, which {'is' if len(verdict.missing) == 1 else 'are'} not started"
            )
        case "schema":
            where = f" at {verdict.errors[0].path}" if verdict.errors else ""
            return f"its schema does not fit the payload{where}"
        case _:
            waits = verdict.step.trigger.type if verdict.step.trigger else "nothing"
            return f"its trigger waits for {waits}"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def below(names: Iterable[str], order: Iterable[Step]) -> set[str]:
    """These steps of a flow, and all that need them, directly or not. ``order`` is one of `Snapshot.linked`."""
    found = set(names)
    for step in order:
        if not found.isdisjoint(step.needs):
            found.add(step.name)
    return found
