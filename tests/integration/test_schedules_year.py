"""Some weeks of schedules around the days on which clocks are set, against a plain model; `make year` plays a year."""

import asyncio
from pathlib import Path

import pytest
from year.world import World


@pytest.mark.parametrize("seed", [4])
def test_every_slot_is_told_once_whatever_daemons_and_clocks_do(seed: int, tmp_path: Path) -> None:
    world = World(tmp_path, seed, 24)
    asyncio.run(world.play(30))
    assert world.counts.events > 1000
    assert world.counts.restarts > 5
