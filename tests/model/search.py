"""Looks for sequences that break the model itself: ``python -m model.search 100000 [SEED]``."""

from __future__ import annotations

import random
import sys
from collections import Counter

from model.acts import MAX_DEPTH, MAX_TREE_EVENTS, Act, Acts, Features, perform, random_flows
from model.flows import End
from model.model import Model
from model.records import UNFINISHED
from model.truths import Truths

ACTS = 60
_ROUNDS_TO_RUN_DRY = 400


class BrokenError(Exception):
    """A truth is none. The message tells the whole sequence."""


def search(seed: int, acts: int = ACTS) -> Counter[str]:
    """Play one sequence. How often something happened, so that one sees that everything does."""
    rng = random.Random(seed)
    flows = random_flows(rng, Features())
    model = Model(flows, max_parallel=3, max_depth=MAX_DEPTH, max_tree_events=MAX_TREE_EVENTS)
    maker, truths = Acts(rng, Features()), Truths(model)
    told: list[str] = [str(flow) for flow in flows]
    seen: Counter[str] = Counter()
    for _ in range(acts):
        act = maker.act(model)
        told.append(str(act))
        refused = perform(model, act)
        seen[f"{act.verb}: {refused or 'done'}"] += 1
        asked_for = model.runs[act.arguments[0]] if act.verb in ("retry", "answer") and refused is None else None  # type: ignore[index]
        _tell(truths.broken(asked_for), seed, told)
    run_dry(model)
    told.append("run dry")
    _tell(truths.broken(), seed, told)
    seen.update(f"ends {run.status} {run.effective} {run.reason}" for run in model.runs)
    left = [run for run in model.runs if run.status in UNFINISHED]
    _tell([f"{run} never ends: {run.status}, {run.waits}" for run in left], seed, told)
    return seen


def run_dry(model: Model) -> None:
    """Let everything end that can: packages come back, pauses end, people answer, steps end well, time passes."""
    for act in calming(model):
        perform(model, act)
    for _ in range(_ROUNDS_TO_RUN_DRY):
        acts = ending(model)
        if not acts:
            return
        for act in acts:
            perform(model, act)


def calming(model: Model) -> list[Act]:
    """Packages come back and pauses end."""
    return [Act("edit", (flow, 1, False)) for flow in model.flows] + [Act("resume", (s,)) for s in sorted(model.pauses)]


def ending(model: Model) -> list[Act]:
    """The next acts with which everything ends; none where it has."""
    acts = [Act("exit", (run.seq, End(0, "completed"))) for run in model.runs if run.status == "running"]
    asking = [run for run in model.runs if run.asks and any(one.status in UNFINISHED for one in run.dependents)]
    acts += [Act("resolve", (run.seq, "failed")) for run in asking]
    if not acts and any(run.status in UNFINISHED for run in model.runs):
        instants = [run.waits.until_ms for run in model.runs if run.waits and run.waits.kind == "instant"]
        acts = [Act("pass_time", (max(4_000, min(instants, default=0) - model.wall_ms),))]
    return acts


def _tell(problems: list[str], seed: int, told: list[str]) -> None:
    if problems:
        lines = "\n".join(f"  {line}" for line in [*told, *problems])
        raise BrokenError(f"seed {seed}:\n{lines}")


def main() -> None:
    """Search ``argv[1]`` sequences from seed ``argv[2]`` on."""
    sequences, seed = (
        int(sys.argv[1]),
        int(sys.argv[2]) if len(sys.argv) > 2 else random.SystemRandom().randrange(10**9),
    )
    seen: Counter[str] = Counter()
    for one in range(seed, seed + sequences):
        seen.update(search(one))
    for what, times in sorted(seen.items()):
        print(f"{times:9} {what}")
    print(f"{sequences} sequences from seed {seed} broke nothing")


if __name__ == "__main__":
    main()
