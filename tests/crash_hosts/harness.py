"""Lets faults befall three hosts of one store, and prints what that did: ``python -m crash_hosts.harness 500``
(``make crash-hosts``)."""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import postgres_rig
from crash.harness import under_a_quick_init
from crash_hosts.canceller import Canceller
from crash_hosts.faults import KINDS, Fault, Misfortune
from crash_hosts.found import Verdict
from crash_hosts.reader import Reader
from crash_hosts.sender import Sender
from crash_hosts.stage import Stage
from crash_hosts.verdict import Judge
from crash_hosts.waiter import Waiter

FAULTS_A_ROUND = 25
"""Then all come back, what is queued runs dry, and everything is looked at."""

_BETWEEN_S = (0.2, 3.0)
_DRY_WITHIN_S = 480.0


def play(faults: int, seed: int, number: int, only: str = "") -> tuple[Verdict, list[Fault]]:
    """One empty database, so many faults, and the verdict."""
    with tempfile.TemporaryDirectory(prefix="flowd-crash-hosts-", ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o755)
        stage = Stage(Path(folder), postgres_rig.server(), f"crash{number}", seed)
        misfortune, verdict = Misfortune(stage, seed, only), Verdict()
        try:
            verdict = _played(stage, misfortune, faults, seed)
        except AssertionError as failure:
            verdict.problems.append(f"it did not come to an end: {failure}")
        finally:
            misfortune.relent(at_once=True)
            if verdict.problems:
                _keep(stage, seed)
            stage.clean_up()
        return verdict, misfortune.story


def _played(stage: Stage, misfortune: Misfortune, faults: int, seed: int) -> Verdict:
    stage.await_all()
    sender = Sender(stage, seed)
    canceller, waiter = Canceller(stage, sender, seed), Waiter(stage, sender, seed)
    reader = Reader([host.socket for host in stage.hosts.values()], seed)
    chance, next_s = random.Random(seed + 1), time.monotonic()
    while len(misfortune.story) < faults or misfortune.under_way:
        misfortune.relent()
        stage.tend()
        if len(misfortune.story) < faults and time.monotonic() >= next_s and misfortune.strike():
            next_s = time.monotonic() + chance.uniform(*_BETWEEN_S)
        time.sleep(0.05)
    sender.end()
    canceller.end()
    waiter.end()
    stage.await_all()
    sender.settle()
    _run_dry(stage)
    verdict = Judge(stage, sender, canceller, waiter, reader, misfortune.story).judge()
    for host in stage.hosts.values():
        host.is_wanted = False
        if (code := host.stop()) != 0:
            verdict.problems.append(f"the daemon of {host.name} ended with {code}")
    return verdict


def _run_dry(stage: Stage) -> None:
    deadline = time.monotonic() + _DRY_WITHIN_S
    while left := stage.ask(
        "SELECT id, status, waits_for, flow_name FROM runs WHERE status IN ('queued', 'running') ORDER BY seq LIMIT 9"
    ):
        stage.tend()
        assert time.monotonic() < deadline, f"runs do not end: {left}"
        time.sleep(0.2)


def _keep(stage: Stage, seed: int) -> None:
    for host in stage.hosts.values():
        log = Path(tempfile.gettempdir()) / f"flowd-crash-hosts-{seed}-{host.name}.log"
        log.write_text(host.logs(), encoding="utf-8")
        print(f"      the log of {host.name} is in {log}", flush=True)


def main() -> int:
    """The command line. Exits with 1 when anything was lost, doubled, missed or left behind."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("faults", type=int, nargs="?", default=500)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--only", choices=KINDS, default="", help="one kind of faults")
    options = parser.parse_args()
    if "CRASH_INIT" not in os.environ:
        return under_a_quick_init([sys.executable, "-m", "crash_hosts.harness", *sys.argv[1:]])
    if postgres_rig.binaries() is None:
        print("NOT TESTED: PostgreSQL, because its server is not here (apt install postgresql)")
        return 1 if os.environ.get("CI") else 0
    print(f"seed {options.seed}", flush=True)
    total, counts, in_vain, done, number = Verdict(), Counter[str](), Counter[str](), 0, 0
    while done < options.faults:
        began_s = time.monotonic()
        wanted = min(FAULTS_A_ROUND, options.faults - done)
        verdict, story = play(wanted, options.seed + number, number, options.only)
        done, number = done + wanted, number + 1
        counts.update(fault.name for fault in story)
        in_vain.update(fault.name for fault in story if fault.was_in_vain)
        total.add(verdict)
        print(
            f"{done:5}/{options.faults}  seed {options.seed + number - 1}  {verdict.events:4} events {verdict.runs:4} "
            f"runs  {'ok' if not verdict.problems else 'BAD'}  {time.monotonic() - began_s:.0f} s",
            flush=True,
        )
        for problem in verdict.problems:
            print(f"      {problem}", flush=True)
        if verdict.problems:
            for fault in story:
                print(f"      {fault.name:46} {fault.target:8} {fault.begun_s:.1f} … {fault.ended_s:.1f}", flush=True)
    _print(total, counts, in_vain)
    return 1 if total.problems else 0


def _print(total: Verdict, counts: Counter[str], in_vain: Counter[str]) -> None:
    print("\nfaults, and how many of them met nobody, or armed a point that was not passed in time")
    for name in KINDS:
        print(f"{counts[name]:6} {in_vain[name]:4}  {name}")
    print(f"{counts.total():6} {in_vain.total():4}  in all\n")
    for name, what in _ROWS:
        print(f"{getattr(total, name):6}  {what}")


_ROWS = (
    ("events", "events that were acknowledged"),
    ("resent", "times that one was not, and sent again"),
    ("runs", "runs"),
    ("canceled", "runs whose cancel was acknowledged"),
    ("waits", "waits for a run that were answered"),
    ("read", "outputs that were read once more"),
    ("interrupted", "attempts that were interrupted"),
    ("declared", "of these, declared lost by another host"),
    ("moves", "times that the reader of the journal went on on another host"),
    ("thawed", "attempts that began while a host that was frozen whole still had an earlier one"),
    ("lost", "lost: acknowledged and not there, or ended as it must not"),
    ("doubled", "doubled: begun twice, or without a declared loss and the step's own policy"),
    ("overlaps", "overlaps: begun while an earlier attempt lived"),
    ("keys", "keys that two held"),
    ("revived", "runs that began or went on after their cancel had been acknowledged"),
    ("fenced", "outcomes of fenced attempts"),
    ("gaps", "gaps in the journal"),
    ("unheard", "ends that a host did not tell to whoever waited there"),
    ("unread", "outputs that a host does not have whole"),
    ("leftovers", "processes left behind"),
    ("errors", "errors of flowd itself in its logs"),
)

if __name__ == "__main__":
    sys.exit(main())
