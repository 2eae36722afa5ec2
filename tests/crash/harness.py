"""Kills flowd many times and prints what that did: ``python -m crash.harness 500`` (``make crash``)."""

from __future__ import annotations

import argparse
import ctypes
import os
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from crash.driver import CLASSES, Driver, Story
from crash.stage import Stage
from crash.verdict import Judge, Verdict

KILLS_A_ROUND = 12
"""Then everything is looked at. More of them between two looks would make a finding harder to place."""

_PR_SET_CHILD_SUBREAPER = 36


@dataclass(slots=True)
class Round:
    """Some kills in one workspace, and what was found afterwards."""

    story: Story
    verdict: Verdict
    seconds: float
    log: str = ""


@dataclass(slots=True)
class _Row:
    kills: int = 0
    unreached: int = 0
    repeated: int = 0
    seconds: float = 0.0
    verdict: Verdict = field(default_factory=Verdict)


def play(kinds: list[str], seed: int) -> Round:
    """One workspace, one kill after another of these kinds, then the verdict."""
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="flowd-crash-", ignore_cleanup_errors=True) as folder:
        stage = Stage(Path(folder))
        try:
            driver = Driver(stage, seed)
            driver.open()
            for kind in kinds:
                driver.kill(kind)
            driver.settle()
            verdict = Judge(stage, driver.story).judge()
            return Round(driver.story, verdict, time.monotonic() - began_s, stage.log() if verdict.problems else "")
        finally:
            stage.clean_up()


def under_a_quick_init(command: list[str]) -> int:
    """Run a command below a process that reaps orphans at once, as most machines' first process does, and some don't.

    An exit that only a zombie could still tell is gone then, which is the harder case for flowd.
    """
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    child = os.posix_spawn(command[0], command, {**os.environ, "CRASH_INIT": "1"})
    while True:
        pid, status = os.wait()
        if pid == child:
            return os.waitstatus_to_exitcode(status)


def main() -> int:
    """The command line. Exits with 1 when anything was lost, doubled or left behind."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kills", type=int, nargs="?", default=500)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--only", choices=CLASSES, help="one class of instants")
    options = parser.parse_args()
    if "CRASH_INIT" not in os.environ:
        return under_a_quick_init([sys.executable, "-m", "crash.harness", *sys.argv[1:]])
    classes = [options.only] if options.only else list(CLASSES)
    rows = {name: _Row() for name in classes}
    done = number = 0
    is_good = True
    while done < options.kills:
        name = classes[number % len(classes)]
        seed = options.seed + number
        number += 1
        try:
            played = play([name] * min(KILLS_A_ROUND, options.kills - done), seed)
        except AssertionError as failure:
            played = Round(Story(), Verdict(lost=1, problems=[str(failure)]), 0.0)
        done += max(1, len(played.story.kills))
        _add(rows[name], played)
        verdict = played.verdict
        print(
            f"{done:5}/{options.kills}  seed {seed}  {name:26} {verdict.events:4} events {verdict.runs:4} runs  "
            f"{'ok' if not verdict.problems else 'BAD'}  {played.seconds:.1f} s",
            flush=True,
        )
        for problem in verdict.problems:
            is_good = False
            print(f"      {problem}", flush=True)
        if played.log:
            log = Path(tempfile.gettempdir()) / f"flowd-crash-{seed}.log"
            log.write_text(played.log, encoding="utf-8")
            print(f"      the daemon's log is in {log}", flush=True)
    _print(rows)
    return 0 if is_good else 1


def _add(row: _Row, played: Round) -> None:
    row.kills += len(played.story.kills)
    row.unreached += len(played.story.unreached)
    row.repeated += played.story.repeated
    row.seconds += played.seconds
    for name in ("events", "runs", "lost", "doubled", "out_of_order", "over_limit", "leftovers", "interrupted"):
        setattr(row.verdict, name, getattr(row.verdict, name) + getattr(played.verdict, name))
    row.verdict.unseen += played.verdict.unseen
    row.verdict.problems += played.verdict.problems


def _print(rows: dict[str, _Row]) -> None:
    columns = ("kills", "unreached", "events", "resent", "runs", "lost", "doubled", "disorder", "over limit", "left",
               "unseen", "interrupted")  # fmt: skip
    print(f"\n{'instant':26}" + "".join(f"{column:>12}" for column in columns) + f"{'seconds':>10}")
    totals = [0] * len(columns)
    for name, row in rows.items():
        v = row.verdict
        values = [row.kills, row.unreached, v.events, row.repeated, v.runs, v.lost, v.doubled, v.out_of_order,
                  v.over_limit, v.leftovers, v.unseen.total(), v.interrupted]  # fmt: skip
        totals = [total + value for total, value in zip(totals, values, strict=True)]
        print(f"{name:26}" + "".join(f"{value:>12}" for value in values) + f"{row.seconds:>10.1f}")
    print(f"{'total':26}" + "".join(f"{value:>12}" for value in totals))
    print(
        "\nunreached: a point that was armed and not passed in time. unseen: nobody was there to see the exit, each\n"
        "of them under a keeper that died; its result stood in, or it is interrupted where it printed none:"
    )
    for name, row in rows.items():
        for why, count in sorted(row.verdict.unseen.items()):
            print(f"  {name:26} {count:4}  {why}")


if __name__ == "__main__":
    sys.exit(main())
