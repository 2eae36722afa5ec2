"""Plays random sequences on the real engine and on the model: ``python -m model.play 5000 [SEED]`` (``make model``)."""

from __future__ import annotations

import asyncio
import functools
import logging
import random
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from unittest import mock

from model import shrink
from model.acts import MAX_DEPTH, Acts, Features, Sequence, perform, random_flows
from model.player import DifferenceError, Player, new_model
from model.world import CRASH_POINTS, World

from flowd.store.sql import trees
from flowd.store.sqlite import schema

ACTS = 30
_DEATHS = 0.12
"""Of acts in which the daemon dies."""

_MEANT = functools.cache(schema._meant)
"""The schema that a database should have: the same each time, and most of what a start takes."""


def sequence_of(seed: int, features: Features) -> Sequence:
    """The sequence of a seed: random flows, and acts that mean something to them."""
    rng = random.Random(seed)
    sequence = Sequence(seed, random_flows(rng, features))
    model = new_model(sequence)
    maker = Acts(rng, features)
    acts = []
    for _ in range(ACTS):
        act = maker.act(model)
        perform(model, act)
        if act.verb not in ("step_clock", "restart", "stop") and rng.random() < _DEATHS:
            act = replace(act, dies=(rng.choice(CRASH_POINTS), rng.choice(("before", "after"))))
        acts.append(act)
    return replace(sequence, acts=tuple(acts))


def difference_in(sequence: Sequence) -> DifferenceError | None:
    """Play a sequence; None where there is no difference."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="flowd-model-", dir=memory if memory.is_dir() else None))
    try:
        with mock.patch.object(trees, "MAX_DEPTH", MAX_DEPTH), mock.patch.object(schema, "_meant", _MEANT):
            asyncio.run(_play_one(folder, sequence))
    except DifferenceError as difference:
        return difference
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return None


async def _play_one(folder: Path, sequence: Sequence) -> None:
    async with asyncio.timeout(60):
        await Player(World(folder, sequence.flows), sequence).play()


def play(first_seed: int, sequences: int, features: Features | None = None, *, is_loud: bool = False) -> None:
    """Play so many sequences, each with the seed after that of the one before.

    Args:
        features: What they are made of; all of it, unless something is left out.
        is_loud: Tell how far it is, and look for the shortest sequence that shows a difference.

    Raises:
        DifferenceError: At the first difference.
    """
    for seed in range(first_seed, first_seed + sequences):
        sequence = sequence_of(seed, features or Features())
        difference = difference_in(sequence)
        if difference is not None:
            raise shrink.shortest(sequence, difference, difference_in) if is_loud else difference
        if is_loud and (seed + 1 - first_seed) % 500 == 0:
            print(f"{seed + 1 - first_seed} sequences without a difference, up to seed {seed}", flush=True)


def main() -> None:
    """Play ``argv[1]`` sequences from seed ``argv[2]``, or from a random one, without the features that follow."""
    sequences = int(sys.argv[1])
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.SystemRandom().randrange(10**9)
    features = Features(**dict.fromkeys(sys.argv[3:], False))
    without = f" without {', '.join(features.off())}" if features.off() else ""
    print(f"{sequences} sequences{without} from seed {seed}", flush=True)
    sys.setswitchinterval(0.0005)
    logging.disable(logging.CRITICAL)
    try:
        play(seed, sequences, features, is_loud=True)
    except DifferenceError as error:
        sys.exit(f"{error}\nPlay the whole of it again: make model SEED=SEED SEQUENCES=1")
    print(f"no difference in {sequences} sequences from seed {seed}")


if __name__ == "__main__":
    main()
