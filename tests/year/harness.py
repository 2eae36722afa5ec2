"""Simulates a year of schedules in some minutes, and compares what is told with a plain model of it: `make year`."""

import argparse
import asyncio
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from year.world import World


def main() -> int:
    """Play it; 1 where something was lost, doubled, or told that should not have been."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seed", type=int, nargs="?", default=int(time.time()))
    parser.add_argument("--schedules", type=int, default=200)
    parser.add_argument("--days", type=int, default=365)
    options = parser.parse_args()
    print(f"seed {options.seed}: {options.schedules} schedules, {options.days} days", flush=True)
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), options.seed, options.schedules)
        try:
            asyncio.run(world.play(options.days))
        except AssertionError as problem:
            print(f"BAD  {problem}")
            return 1
        finally:
            for name, count in asdict(world.counts).items():
                print(f"{count:8}  {name}")
    print(f"every slot once, in {time.monotonic() - began_s:.0f} s")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
