"""The runs of an accept or a replay, made of the steps that match."""

from collections.abc import Collection, Iterable, Sequence

from flowd.domain import ids, joining
from flowd.domain.errors import InvalidParamsError
from flowd.domain.flow import Snapshot
from flowd.domain.matching import Match
from flowd.domain.queueing import NewRun
from flowd.engine.steps_in_force import StepsInForce

_MAX_NAMES_CHARS = 2000


def first_round(steps: StepsInForce, event_id: str, matches: Iterable[Match]) -> tuple[NewRun, ...]:
    """A run of each step, for an event that is new; each waits for those that its step needs."""
    return tuple(
        NewRun(
            ids.run_id(event_id, match.flow.name, match.step.name),
            steps.of(match.flow, match.step),
            needs=match.step.needs,
            when=match.step.when,
        )
        for match in matches
    )


def how_many_start(runs: Iterable[NewRun]) -> int:
    """Those of these runs that wait for no other, and for no time."""
    return sum(not run.needs and not run.copied and not run.is_timed for run in runs)


class Selection:
    """Some of the steps that an event matches, for a replay.

    Attributes:
        matches: In the order of the matches.
        named: Those of them that were named, by flow and step; what they need of others counts as they ask.
    """

    def __init__(self, matches: Sequence[Match], named: Collection[tuple[str, str]] = ()) -> None:
        self.matches = matches
        self.named = frozenset(named)
        self._names = {_names(match) for match in matches}

    @classmethod
    def of(
        cls,
        matches: Sequence[Match],
        snapshot: Snapshot,
        *,
        steps: Sequence[str] | None,
        from_steps: Sequence[str] | None,
    ) -> "Selection":
        """The steps that are asked for, each ``step`` or ``flow/step``; all where none is.

        Args:
            steps: Only these.
            from_steps: These, and all that need them.

        Raises:
            InvalidParamsError: A name is none of a step that the event matches.
        """
        if steps is None and from_steps is None:
            return cls(matches)
        alone = _find(matches, steps or (), "steps")
        first = _find(matches, from_steps or (), "from")
        wanted = alone | first | _below(first, snapshot)
        return cls([match for match in matches if _names(match) in wanted], alone | first)

    def without(self, known: Collection[tuple[str, str]]) -> "Selection":
        """Less these."""
        return Selection([match for match in self.matches if _names(match) not in known], self.named)

    def run(self, match: Match, run_id: str, steps: StepsInForce, replay_of: str | None) -> NewRun:
        """The run of one of the steps. It waits for those that it needs that are here, too; the others are copied."""
        flow, step = match.flow.name, match.step
        return NewRun(
            run_id,
            steps.of(match.flow, step),
            replay_of=replay_of,
            needs=tuple(need for need in step.needs if (flow, need) in self._names),
            when=step.when,
            copied=tuple(need for need in step.needs if (flow, need) not in self._names),
            is_named=(flow, step.name) in self.named,
        )


def original(known: Collection[str], event_id: str, flow_name: str, step_name: str) -> str:
    """The id of the event's first run of a step. ``known`` are the ids of all its runs."""
    usual = ids.run_id(event_id, flow_name, step_name)
    longer = ids.longer_run_id(usual, event_id, flow_name, step_name)
    return longer if longer in known else usual


def _names(match: Match) -> tuple[str, str]:
    return match.flow.name, match.step.name


def _find(matches: Sequence[Match], wanted: Sequence[str], param: str) -> set[tuple[str, str]]:
    found: dict[str, set[tuple[str, str]]] = {}
    for match in matches:
        flow, step = _names(match)
        found.setdefault(step, set()).add((flow, step))
        found.setdefault(f"{flow}/{step}", set()).add((flow, step))
    for name in wanted:
        if name not in found:
            names = ", ".join(sorted(found))[:_MAX_NAMES_CHARS] or "nothing"
            raise InvalidParamsError(f"The event does not match {name[:200]!r}. It matches: {names}.", param=param)
    return {names for name in wanted for names in found[name]}


def _below(first: Collection[tuple[str, str]], snapshot: Snapshot) -> set[tuple[str, str]]:
    by_flow: dict[str, set[str]] = {}
    for flow, step in first:
        by_flow.setdefault(flow, set()).add(step)
    return {
        (flow, step) for flow, names in by_flow.items() for step in joining.below(names, snapshot.linked.get(flow, ()))
    }
