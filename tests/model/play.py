"""Plays random sequences on the real engine and on the model, and compares them after each act."""

from __future__ import annotations

import asyncio
import logging
import random
import shutil
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from model.model import Model, ModelRun
from model.world import CRASH_POINTS, STEPS, World

from flowd.domain.exit import Exit
from flowd.domain.run import Run
from flowd.domain.waiting import PackageWait, TimeWait

ACTS = 24
_LOST_IF_BEFORE = {"accept", "add_runs", "cancel_queued", "request_cancel", "retry"}
"""Commits that somebody asked for: a daemon that dies before one has not done it. All others are made up for."""

_EXITS = {"bad": Exit(code=1), "ok": Exit(code=0)}


class DifferenceError(Exception):
    """The real one did not do what the model says. The message tells the whole sequence."""


@dataclass
class Player:
    """One sequence."""

    world: World
    seed: int
    model: Model = field(default_factory=Model)
    told: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self._ending: ModelRun | None = None

    async def play(self) -> None:
        """All of it."""
        await self.world.open()
        try:
            for _ in range(ACTS):
                await self._act()
                await self._compare()
            await self._run_dry()
        finally:
            await self.world.die()

    async def _act(self) -> None:
        choice = self.random.choices(
            ("accept", "exit", "cancel", "retry", "replay", "time", "clock", "edit", "restart", "stop"),
            (8, 9, 2, 3, 1, 4, 1, 3, 1, 1),
        )[0]
        arming = None
        self._ending = None
        if choice not in ("clock", "restart", "stop") and self.random.random() < 0.15:
            arming = self.random.choice(CRASH_POINTS), self.random.choice(("before", "after"))
        self.world.store.arming = arming
        self.told.append(f"{choice} (dies at {' '.join(arming)})" if arming else choice)
        await getattr(self, f"_{choice}")()
        died_at = self.world.store.died_at
        if died_at is not None:
            await self.world.die()
            await self.world.open()
            self.model.restart(unrecorded=self._ending if died_at == ("finish", "before") else None)
        self.world.store.arming = None

    async def _do(self, what: str, on_model: object, *arguments: object) -> None:
        """Let it come to rest, then let the model do the same, unless it was lost with its daemon."""
        self.told[-1] += f": {what}"
        await self.world.settle()
        died_at = self.world.store.died_at
        is_lost = died_at is not None and died_at[1] == "before" and died_at[0] in _LOST_IF_BEFORE
        if is_lost or (died_at == ("cancel_queued", "after") and arguments[0].status == "running"):  # type: ignore[attr-defined]
            self.told[-1] += " [lost]"
            return
        if died_at == ("fail_removed", "before"):
            self.model.gone_since.clear()  # the next daemon counts anew
        on_model(*arguments)  # type: ignore[operator]

    async def _accept(self) -> None:
        event = f"e{self.random.randrange(12)}"
        only = self.random.choice((None, *STEPS))
        pair = None if only is None else (only, only)
        value = {"id": event, "type": "go", "payload": {}}
        self.world.call(self.world.engine.dispatch(value, only=pair))
        await self._do(f"{event} {only or 'both'}", self.model.accept, event, only)

    async def _replay(self) -> None:
        event = f"e{self.random.randrange(12)}"
        self.world.call(self.world.engine.replay(event))
        await self._do(event, self.model.replay, event)

    async def _exit(self) -> None:
        running = [n for n, run in enumerate(self.model.runs) if run.status == "running"]
        if not running:
            self.told[-1] += ": nothing runs"
            return
        number = self.random.choice(running)
        how = self.random.choice(("bad", "bad", "ok"))
        run = (await self.world.look())[number]
        self.world.keeper.end(run.attempts[-1].id, _EXITS[how])
        self._ending = self.model.runs[number]
        await self._do(f"{number} {how}", self.model.exit, self.model.runs[number], how)

    async def _of_some_run(self, verb: str) -> None:
        if not self.model.runs:
            return
        number = self.random.randrange(len(self.model.runs))
        run = (await self.world.look())[number]
        engine = self.world.engine
        self.world.call((engine.cancels.run if verb == "cancel" else engine.retry_run)(run.id))
        await self._do(str(number), getattr(self.model, verb), self.model.runs[number])

    async def _cancel(self) -> None:
        await self._of_some_run("cancel")

    async def _retry(self) -> None:
        await self._of_some_run("retry")

    async def _time(self) -> None:
        ms = self.random.choice((1, 500, 1000, 1999, 4000, 30_000, 61_000))
        self.world.clock.pass_time(ms)

        def pass_time() -> None:
            self.model.pass_time(ms, is_noticed=self.world.store.died_at != ("claim", "before"))

        await self._do(f"{ms} ms", pass_time)

    async def _clock(self) -> None:
        ms = self.random.choice((-3_600_000, -700, 700, 3_600_000))
        self.world.clock.wall_ms += ms
        self.model.step_clock(ms)
        self.told[-1] += f": {ms} ms"

    async def _edit(self) -> None:
        step, version = self.random.choice(STEPS), self.random.choice((None, None, 1, 2, 3))
        is_broken = self.random.random() < 0.3
        self.world.packages.versions[step], self.world.packages.is_broken = version, is_broken
        self.world.packages.change()
        self.world.engine.packages_changed(self.world.packages.snapshot)
        await self._do(
            f"{step} {version} broken={is_broken}", lambda: self.model.edit(step, version, is_broken=is_broken)
        )

    async def _restart(self) -> None:
        await self.world.die()
        await self.world.open()
        self.model.restart()

    async def _stop(self) -> None:
        await self.world.stop()
        await self.world.open()
        self.model.restart()

    async def _run_dry(self) -> None:
        """In the end every run ends: nothing is stuck."""
        self.told.append("run dry")
        for step in STEPS:
            self.world.packages.versions[step] = self.model.versions[step] = 1
        self.world.packages.change()
        self.world.engine.packages_changed(self.world.packages.snapshot)
        await self.world.settle()
        self.model.edit(STEPS[0], 1, is_broken=self.model.is_broken)
        while any(run.status in ("queued", "running") for run in self.model.runs):
            await self._compare()
            for run in await self.world.look():
                if run.status == "running":
                    self.world.keeper.end(run.attempts[-1].id, _EXITS["ok"])
                    await self.world.settle()
                    self.model.exit(self._model_of(run, await self.world.look()), "ok")
            self.world.clock.pass_time(4_000)
            await self.world.settle()
            self.model.pass_time(4_000)
        await self._compare()

    def _model_of(self, run: Run, runs: list[Run]) -> ModelRun:
        return self.model.runs[[one.id for one in runs].index(run.id)]

    async def _compare(self) -> None:
        runs = await self.world.look()
        real = [state_of(run) for run in runs]
        wanted = [run.state() for run in self.model.runs]
        if real != wanted:
            lines = [
                f"  {n}: real {a}, model {b}" for n, (a, b) in enumerate(zip(real, wanted, strict=False)) if a != b
            ]
            self._differ("\n".join(lines) or f"  {len(real)} runs, the model has {len(wanted)}")
        running = {run.attempts[-1].id for run in runs if run.status == "running"}
        if running != self.world.keeper.running:
            self._differ(f"  running are {sorted(running)}, the keeper has {sorted(self.world.keeper.running)}")
        starts = self.world.keeper.starts
        if len(set(starts)) != len(starts):
            self._differ(f"  started twice: {sorted(name for name in starts if starts.count(name) > 1)}")
        if self.world.keeper.exits:
            self._differ(f"  ended, recorded, and still kept: {sorted(self.world.keeper.exits)}")
        if strange := [slug for slug in self.world.refused if not slug.isidentifier()]:
            self._differ(f"  refused for {strange}")

    def _differ(self, problem: str) -> None:
        told = "\n".join(f"  {n:2} {line}" for n, line in enumerate(self.told, 1))
        raise DifferenceError(
            f"seed {self.seed}: after\n{told}\n{problem}\nPlay it again: make model SEED={self.seed} SEQUENCES=1"
        )


def state_of(run: Run) -> tuple[object, ...]:
    """As `ModelRun.state`."""
    waits: object = None
    if isinstance(run.waiting_for, TimeWait):
        waits = run.waiting_for.why, run.waiting_for.until_ms
    elif isinstance(run.waiting_for, PackageWait):
        waits = "package"
    return run.step_name, run.status.value, run.attempt_count, run.flow_version, waits


def play(first_seed: int, sequences: int, *, is_loud: bool = False) -> None:
    """Play so many sequences, each with the seed after that of the one before.

    Raises:
        DifferenceError: At the first difference.
    """
    memory = Path("/dev/shm")
    for seed in range(first_seed, first_seed + sequences):
        folder = Path(tempfile.mkdtemp(prefix="flowd-model-", dir=memory if memory.is_dir() else None))
        try:
            asyncio.run(_play_one(folder, seed))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        if is_loud and (seed + 1 - first_seed) % 500 == 0:
            print(f"{seed + 1 - first_seed} sequences without a difference, up to seed {seed}", flush=True)


async def _play_one(folder: Path, seed: int) -> None:
    async with asyncio.timeout(60):
        await Player(World(folder), seed).play()


def main() -> None:
    """Play ``argv[1]`` sequences from seed ``argv[2]``, or from a random one."""
    sequences = int(sys.argv[1])
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.SystemRandom().randrange(10**9)
    print(f"{sequences} sequences from seed {seed}", flush=True)
    sys.setswitchinterval(0.0005)
    logging.disable(logging.CRITICAL)
    try:
        play(seed, sequences, is_loud=True)
    except DifferenceError as error:
        sys.exit(str(error))
    print(f"no difference in {sequences} sequences from seed {seed}")


if __name__ == "__main__":
    main()
