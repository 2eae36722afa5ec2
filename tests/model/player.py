"""Plays one sequence on the real engine and on the model, and compares them after each act."""

from __future__ import annotations

from dataclasses import dataclass, field

from model.acts import ABOUT_A_RUN, MAX_DEPTH, MAX_TREE_EVENTS, Act, Sequence, has_times, is_possible, perform
from model.compared import model_place_of, model_state_of, place_of, state_of
from model.model import Model
from model.records import Run
from model.search import calming, ending
from model.truths import Truths
from model.world import MAX_PARALLEL, World

from flowd.domain import ids
from flowd.domain.filters import EventFilter

_LOST_IF_BEFORE = {
    "accept", "add_runs", "cancel_queued", "request_cancel", "retry", "resolve", "answer", "begin_pause", "end_pause",
    "call_off",
}  # fmt: skip
"""Commits that somebody asked for: a daemon that dies before one has not done it. All others are made up for."""

_ACTS_TO_RUN_DRY = 200


class DifferenceError(Exception):
    """The real one did not do what the model says. The message tells the whole sequence."""


def new_model(sequence: Sequence) -> Model:
    """A model of the workspace that sequences are played in."""
    return Model(
        sequence.flows,
        max_parallel=MAX_PARALLEL,
        max_depth=MAX_DEPTH,
        max_tree_events=MAX_TREE_EVENTS,
        name_run=ids.run_id,
    )


@dataclass
class _Before:
    """How far both were before an act."""

    started: int
    really_started: int
    refused: int


@dataclass
class Player:
    """One sequence."""

    world: World
    sequence: Sequence
    told: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.model = new_model(self.sequence)
        self._truths = Truths(self.model)

    async def play(self) -> None:
        """All of it; and in the end every run ends: nothing is stuck.

        Raises:
            DifferenceError: At the first difference.
        """
        await self.world.open()
        try:
            for act in self.sequence.acts:
                await self._do(act)
            await self._run_dry()
        finally:
            await self.world.die()

    async def _run_dry(self) -> None:
        self.told.append("run dry")
        for act in calming(self.model):
            await self._do(act)
        for _ in range(_ACTS_TO_RUN_DRY):
            acts = ending(self.model)
            if not acts:
                await self._compare_events()
                return
            await self._do(acts[0])
        self._differ("it does not come to an end")

    async def _do(self, act: Act) -> None:
        """Let an act happen to both. Acts before it may have been lost or left out, so that it is about nothing now."""
        if not is_possible(self.model, act):
            return
        self.told.append(str(act))
        world, model = self.world, self.model
        before = _Before(len(model.started), len(world.keeper.starts), len(world.refused))
        about = model.runs[act.arguments[0]] if act.verb in ABOUT_A_RUN else None  # type: ignore[index]
        was_running = about is not None and about.status == "running"
        # What a daemon makes up for begins by the clock of the next one, which the model cannot know.
        are_clocks_even = self.model.wall_ms == self.model.steady_ms or not has_times(self.sequence.flows)
        world.store.arming, world.store.has_claimed = act.dies if are_clocks_even else None, False
        await world.perform(act)
        died_at = world.store.died_at
        model.is_dying = died_at is not None and not world.store.has_claimed  # before anybody got a place
        refused: str | None = None
        if self._is_lost(died_at, was_running=was_running):
            self.told[-1] += " [lost]"
            about = None
        elif act.verb == "pass_time":
            model.pass_time(*act.arguments, is_noticed=died_at != ("claim", "before"))  # type: ignore[arg-type]
        else:
            if died_at == ("fail_removed", "before"):
                model.gone.clear()  # the next daemon sees for itself
            refused = perform(model, act)
        if died_at is not None:
            await self._revive(before, about if act.verb == "exit" and died_at == ("finish", "before") else None)
        world.store.arming = None
        await self._compare(about if act.verb in ("retry", "answer") and refused is None else None)
        if died_at is None and act.verb not in ("restart", "stop"):
            self._compare_answers(before, refused)

    def _is_lost(self, died_at: tuple[str, str] | None, *, was_running: bool) -> bool:
        if died_at is None:
            return False
        point, when = died_at
        is_unasked = when == "before" and point in _LOST_IF_BEFORE
        return is_unasked or (died_at == ("cancel_queued", "after") and was_running)

    async def _revive(self, before: _Before, unrecorded: Run | None) -> None:
        has_process = set(self.world.keeper.starts)
        await self.world.die()
        await self.world.open()
        real = await self.world.look()
        unstarted = [
            run
            for run in self.model.started[before.started :]
            if ids.attempt_id(real[run.seq].id, run.attempts) not in has_process
        ]
        begun = [run for run in unstarted if real[run.seq].flow_version == run.shown]
        self._truths.daemon_died()
        self.model.restart(unrecorded=unrecorded, unstarted=unstarted, begun=begun)

    # --- comparing

    async def _compare(self, asked_for: Run | None) -> None:
        runs = await self.world.look()
        labels = {one.id: str(run) for one, run in zip(runs, self.model.runs, strict=False)}
        real = [state_of(run, lambda run_id: labels.get(run_id, run_id)) for run in runs]
        wanted = [model_state_of(self.model, run) for run in self.model.runs]
        if real != wanted:
            lines = [f"{n}: real {a}, model {b}" for n, (a, b) in enumerate(zip(real, wanted, strict=False)) if a != b]
            self._differ("\n  ".join(lines) or f"{len(real)} runs, the model has {len(wanted)}")
        if problems := self._truths.broken(asked_for):
            self._differ(f"the model is wrong: {problems}")
        running = {run.attempts[-1].id for run in runs if run.status == "running"}
        keeper = self.world.keeper
        if running != keeper.running.keys():
            self._differ(f"running are {sorted(running)}, the keeper has {sorted(keeper.running)}")
        if len(set(keeper.starts)) != len(keeper.starts):
            self._differ(f"started twice: {sorted(name for name in keeper.starts if keeper.starts.count(name) > 1)}")
        if keeper.exits:
            self._differ(f"ended, recorded, and still kept: {sorted(keeper.exits)}")

    async def _compare_events(self) -> None:
        labels = {one.id: str(run) for one, run in zip(self.world.seen, self.model.runs, strict=True)}
        page = await self.world.store.events(EventFilter(), limit=500, cursor=None)
        real = {place_of(event, labels.__getitem__) for event in page.items}
        wanted = {model_place_of(event) for event in self.model.events.values()}
        if real != wanted:
            self._differ(f"events: real {sorted(real - wanted)}, model {sorted(wanted - real)}")

    def _compare_answers(self, before: _Before, refused: str | None) -> None:
        """What was refused, and in which order runs were started."""
        really_refused = self.world.refused[before.refused :]
        if really_refused != ([] if refused is None else [refused]):
            self._differ(f"real refused {really_refused}, model {refused}")
        runs = zip(self.world.seen, self.model.runs, strict=True)
        names = {run.attempts[-1].id: str(one) for run, one in runs if run.attempts}
        real = [names[attempt] for attempt in self.world.keeper.starts[before.really_started :]]
        wanted = [str(run) for run in self.model.started[before.started :]]
        if real != wanted:
            self._differ(f"real started {real}, model {wanted}")

    def _differ(self, problem: str) -> None:
        flows = "\n".join(f"  {flow}" for flow in self.sequence.flows)
        told = "\n".join(f"  {n:2} {line}" for n, line in enumerate(self.told, 1))
        raise DifferenceError(f"seed {self.sequence.seed}:\n{flows}\nafter\n{told}\n  {problem}")
