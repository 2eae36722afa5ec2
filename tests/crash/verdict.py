"""Compares what flowd says with what was acknowledged, what the steps noted, and what is left on the machine."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import psutil
from crash.driver import Story
from crash.kinds import BIG_LINES, KINDS, Kind, lines
from crash.ledger import Ledger
from crash.stage import Stage

from flowd.keeper.journal import load

_OVERLAP_S = 0.3
"""A death this close to a run's edge may have hidden its exit: instants are noted by different processes."""


@dataclass(slots=True)
class Verdict:
    """What was found.

    Attributes:
        unseen: Runs whose exit nobody could see, by what took its place.
        problems: Sentences; none is what is wanted.
    """

    events: int = 0
    runs: int = 0
    lost: int = 0
    doubled: int = 0
    leftovers: int = 0
    out_of_order: int = 0
    over_limit: int = 0
    interrupted: int = 0
    unseen: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)


class Judge:
    """Looks at a stage whose runs have all ended."""

    def __init__(self, stage: Stage, story: Story) -> None:
        self._stage = stage
        self._story = story
        self._ledger = Ledger(stage.ledger)
        self._starts, self._ends = self._ledger.starts, self._ledger.ends
        self._event_of: dict[str, str] = {}
        self._well: set[tuple[str, str]] = set()
        """Events and steps that ended well, as far as they were looked at: needs come before what needs them."""
        self.verdict = Verdict()

    def judge(self) -> Verdict:
        """All of it; the daemon is stopped on the way."""
        self._read_ledger()
        self._events()
        for event_id, run_ids in self._story.acknowledged.items():
            expected = sum(1 for name, kind in KINDS.items() if _type(name, kind) == _type_of(event_id))
            if len(run_ids) != expected:
                self._lose(f"{event_id} has {len(run_ids)} runs, {expected} steps match")
            for run_id in run_ids:
                self._run(run_id)
        self._order()
        self._processes()
        code = self._stage.stop()
        if code:
            self._say(f"the daemon ended with {code}")
        self._files()
        self._database()
        return self.verdict

    def _say(self, problem: str) -> None:
        self.verdict.problems.append(problem)

    def _lose(self, problem: str) -> None:
        self.verdict.lost += 1
        self._say(problem)

    # --- events and runs

    def _read_ledger(self) -> None:
        for (run_id, number), count in self._starts.items():
            if count > 1:
                self.verdict.doubled += 1
                self._say(f"{run_id} attempt {number} was started {count} times")

    def _order(self) -> None:
        for problem in self._ledger.out_of_order(self._event_of):
            self.verdict.out_of_order += 1
            self._say(problem)
        for problem in (*self._ledger.over_limits(self._event_of), *self._ledger.mixed_rounds(self._event_of)):
            self.verdict.over_limit += 1
            self._say(problem)

    def _events(self) -> None:
        self.verdict.events = len(self._story.acknowledged)
        stored: dict[str, list[str]] = {}
        cursor: dict[str, str] = {}
        while True:
            page = self._stage.call("flow.listEvents", limit=500, **cursor)
            stored |= {event["id"]: event["runIds"] for event in page["events"]}
            if "nextCursor" not in page:
                break
            cursor = {"cursor": page["nextCursor"]}
        for event_id, run_ids in self._story.acknowledged.items():
            if stored.get(event_id) != run_ids:
                self._lose(f"{event_id} was acknowledged with {run_ids}, stored is {stored.get(event_id)}")
        for event_id in stored.keys() - self._story.acknowledged.keys():
            self._say(f"{event_id} is stored, but nobody sent it")

    def _run(self, run_id: str) -> None:
        self.verdict.runs += 1
        run = self._stage.call("flow.getRun", runId=run_id)["run"]
        name = run["flowName"] if run["stepName"] == "main" else f"{run['flowName']}/{run['stepName']}"
        kind = KINDS[name]
        where = f"{run_id} ({name})"
        self._event_of[run_id] = run["eventId"]
        if run.get("resultStatus") in ("completed", "changed"):
            self._well.add((run["eventId"], name))
        if run["status"] not in ("completed", "failed"):
            self._lose(f"{where} is {run['status']}: {run.get('error')}")
            return
        if not self._is_wanted(run, kind):
            if (run["attemptCount"], run.get("resultStatus"), run.get("reason")) != (0, "skipped", "needs_not_met"):
                self.verdict.out_of_order += 1
                self._say(f"{where} should have been left out: {run}")
            return
        is_seen = "exitCode" in run or "signal" in run
        if is_seen:
            self._seen(where, kind, run)
        else:
            self._unseen(where, kind, run)
        if run["attemptCount"] > kind.attempts or (is_seen and run["attemptCount"] != kind.attempts):
            self.verdict.doubled += 1
            self._say(f"{where} has {run['attemptCount']} attempts")
        is_edge = run.get("reason") == "interrupted" and not self._starts[run_id, run["attemptCount"]]
        for number in range(1, run["attemptCount"] + (0 if is_edge else 1)):
            if self._starts[run_id, number] != 1:
                self._lose(f"{where} attempt {number} was started {self._starts[run_id, number]} times: {run}")
            if kind.ends_itself and not self._ends[run_id, number]:
                self._lose(f"{where} attempt {number} did not reach its end: {run}")
        if not is_edge:
            self._output(where, name, kind, run)

    def _is_wanted(self, run: dict[str, Any], kind: Kind) -> bool:
        needs = {(run["eventId"], f"{run['flowName']}/{need}") for need in kind.needs}
        return kind.when == "always" or needs <= self._well

    def _seen(self, where: str, kind: Kind, run: dict[str, Any]) -> None:
        expected = (kind.status, kind.reason, kind.result)
        found = (run["status"], run.get("reason"), run.get("resultStatus"))
        if found != expected or (kind.code is not None and run.get("exitCode") != kind.code):
            self._lose(f"{where} ended as {found} with {run.get('exitCode')}, expected {expected}: {run.get('error')}")

    def _unseen(self, where: str, kind: Kind, run: dict[str, Any]) -> None:
        """Nobody saw its exit: then a keeper must have died under it, and its result, if any, stands in."""
        if run.get("reason") == "timeout":
            expected = (kind.status, kind.reason, kind.result)  # flowd ended it, which its journal tells
        else:
            # Never started is rarely known for certain: its keeper may have died at the very edge of the spawn.
            has_run = self._starts[run["id"], run["attemptCount"]] > 0
            expected = ("completed", None, kind.says) if kind.says and has_run else ("failed", "interrupted", None)
        found = (run["status"], run.get("reason"), run.get("resultStatus"))
        if found != expected:
            self._lose(f"{where} ended unseen as {found}, expected {expected}: {run.get('error')}")
        if run.get("reason") == "interrupted":
            self.verdict.interrupted += 1
        begin, end = (_seconds(run["attempts"][-1][name]) for name in ("startedAt", "completedAt"))
        deaths = [
            kill for kill in self._story.kills
            if "keeper" in kill.victims and begin - _OVERLAP_S <= kill.at_s <= end + _OVERLAP_S
        ]  # fmt: skip
        if not deaths:
            self._lose(f"{where} ended unseen although no keeper died under it: {run}")
        else:
            alone = "keeper alone" if all(kill.victims == ("keeper",) for kill in deaths) else "keeper and daemon"
            why = "" if self._starts[run["id"], run["attemptCount"]] else ", at the edge of its spawn"
            self.verdict.unseen[f"{alone} {deaths[-1].point}".strip() + why] += 1

    def _output(self, where: str, name: str, kind: Kind, run: dict[str, Any]) -> None:
        first, last = lines(name)
        data = self._stdout(run["id"])
        text = data.decode()
        if not text.startswith(f"{first}\n") or (kind.ends_itself and not text.endswith(f"{last}\n")):
            self._lose(f"{where} has not its whole output but {text[:80]!r} … {text[-80:]!r}: {run}")
        elif name == "big" and text.count("\n") != BIG_LINES + 3:
            self._lose(f"{where} has {text.count(chr(10))} lines of output")

    def _stdout(self, run_id: str) -> bytes:
        chunks: list[bytes] = []
        offset = 0
        while True:
            part = self._stage.call("flow.readOutput", runId=run_id, stream="stdout", offset=offset)
            chunks.append(part["text"].encode())
            offset = part["nextOffset"]
            if part["eof"]:
                return b"".join(chunks)

    # --- what is left

    def _processes(self) -> None:
        """Nothing of any run lives, and nothing is a zombie. What was just ended has a moment to go."""
        suffix = hashlib.sha256(os.fsencode(self._stage.state / "keeper")).hexdigest()[:12]
        deadline = time.monotonic() + 3.0
        while (found := _marked(suffix) + self._zombies()) and time.monotonic() < deadline:
            time.sleep(0.1)
        self.verdict.leftovers += len(found)
        for process in found:
            self._say(f"left behind: {process}")

    def _zombies(self) -> list[str]:
        keeper = self._stage.living_keeper()
        with contextlib.suppress(psutil.Error):
            children = psutil.Process(keeper).children() if keeper else []
            return [f"zombie {child.pid}" for child in children if child.status() == psutil.STATUS_ZOMBIE]
        return []

    def _files(self) -> None:
        with contextlib.closing(sqlite3.connect(self._stage.state / "flowd.db")) as db:
            kept = {
                f"{run_id}{f':{number}' if number > 1 else ''}.{stream}"
                for stream in ("stdout", "stderr")
                for run_id, number in db.execute(
                    f"SELECT r.id, a.number FROM attempts a JOIN runs r ON r.seq = a.run_seq WHERE a.{stream} IS NULL"
                )
            }
        there = {file.name for file in (self._stage.state / "output").iterdir()}
        if there != kept:
            self.verdict.leftovers += len(there ^ kept)
            self._say(f"stale output files {sorted(there - kept)[:5]}, missing {sorted(kept - there)[:5]}")
        temporary = [str(file) for file in self._stage.state.rglob("*") if file.suffix in (".new", ".tmp")]
        if temporary:
            self.verdict.leftovers += len(temporary)
            self._say(f"temporary files: {temporary}")
        attempts, _ = load(str(self._stage.state / "keeper" / "keeper.journal"))
        if attempts:
            self.verdict.leftovers += len(attempts)
            self._say(f"the keeper still remembers {sorted(attempts)[:5]}")

    def _database(self) -> None:
        with contextlib.closing(sqlite3.connect(self._stage.state / "flowd.db")) as db:
            for pragma in ("integrity_check", "foreign_key_check"):
                answer = db.execute(f"PRAGMA {pragma}").fetchall()
                if answer not in ([("ok",)], []):
                    self._say(f"{pragma}: {answer[:3]}")
            counted = dict(db.execute("SELECT status, count(*) FROM runs GROUP BY status"))
            kept = dict(db.execute("SELECT name, n FROM counts WHERE name <> 'events' AND n <> 0"))
            if counted != kept:
                self._say(f"runs are {counted}, but the counts say {kept}")


def _type(name: str, kind: Kind) -> str:
    return kind.trigger or f"{name.partition('/')[0]}.go"


def _type_of(event_id: str) -> str:
    return f"{event_id.partition('-')[0]}.go"


def _seconds(instant: str) -> float:
    return datetime.fromisoformat(instant).timestamp()


def _marked(suffix: str) -> list[str]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if f"@{suffix}" in process.environ().get("FLOWD_MARK", ""):
                found.append(f"{process.pid} {process.name()}")
    return found
