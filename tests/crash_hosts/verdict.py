"""Compares what the store has, once all is quiet, with what was acknowledged, noted by the steps, and heard."""

from __future__ import annotations

import json
import random
import time
from collections import Counter, defaultdict
from typing import Any, NamedTuple

from crash_hosts import chronicle, witnesses
from crash_hosts.canceller import Canceller
from crash_hosts.faults import SERVER, Fault
from crash_hosts.found import Verdict
from crash_hosts.kinds import KINDS, name_of, steps_of
from crash_hosts.notes import Note, read
from crash_hosts.reader import Reader
from crash_hosts.sender import Sender
from crash_hosts.stage import Stage
from crash_hosts.waiter import Waiter
from crash_hosts.witnesses import End

GONE_WITHIN_S = 10.0
"""What was ended has a moment to be gone."""
HEARD_WITHIN_S = 120.0

_READ = 40
"""Runs whose output is read once more, each on one of the hosts."""
_SLACK_S = 0.1
_CANCELED_WITHIN_S = 15.0
"""A host hears of a wish by its next renewal at the latest."""
_CANCELED_LATE_S = 36.0
"""One that hears nothing goes on until its lease is over, and one that was frozen for a while after that."""
_THAWED_S = 6.0
"""How long after a host was frozen whole its steps may go on beside others: until its keeper has looked at the time."""
_SHAKEN_S = 15.0
"""How long something may go wrong by a fault that is over."""
_DEAFENING = ("server", "database", "link", "daemon f", "host f")
_DEAF_S = 8.0
"""How long a daemon that lives may hear nothing by one of these that is over."""
_FROZEN = "host frozen"


class _Run(NamedTuple):
    id: str
    name: str
    event_id: str
    status: str
    reason: str | None
    result_status: str | None
    attempt_count: int
    error: str | None


class _Attempt(NamedTuple):
    run_id: str
    number: int
    status: str
    reason: str | None
    host: str
    began_s: float
    ended_s: float
    result: str | None
    error: str | None


class Judge:
    """Looks at a stage that is quiet."""

    def __init__(
        self,
        stage: Stage,
        sender: Sender,
        canceller: Canceller,
        waiter: Waiter,
        reader: Reader,
        faults: list[Fault],
    ) -> None:
        self._stage, self._sender, self._canceller, self._waiter = stage, sender, canceller, waiter
        self._reader, self._faults = reader, faults
        self._notes = read(stage.notes / "ledger")
        self._runs = {run.id: run for run in (_run(row) for row in stage.ask(_RUNS))}
        self._attempts = {(one.run_id, one.number): one for one in (_attempt(row) for row in stage.ask(_ATTEMPTS))}
        self._starts: dict[tuple[str, int], list[Note]] = defaultdict(list)
        for note in self._notes:
            if note.what == "S":
                self._starts[note.run_id, note.attempt].append(note)
        self._well = {(run.event_id, run.name) for run in self._runs.values() if run.result_status == "changed"}
        self.verdict = Verdict(resent=sender.repeated, moves=reader.moves, canceled=len(canceller.acknowledged))

    def judge(self) -> Verdict:
        """All of it."""
        self._acknowledged()
        for run in self._runs.values():
            self._ended_as_it_must(run)
        self._told()
        self._canceled()
        for attempt in self._attempts.values():
            self._attempt(attempt)
        self._begun()
        self._locks()
        for counter, problem in chronicle.breaks(self._stage.ask(_JOURNAL)):  # type: ignore[arg-type]
            self._say(counter, problem)
        self._words()
        self._heard()
        self._processes()
        self._logs()
        return self.verdict

    def _say(self, counter: str, problem: str) -> None:
        setattr(self.verdict, counter, getattr(self.verdict, counter) + 1)
        self.verdict.problems.append(f"{counter}: {problem}")

    # --- events and runs

    def _acknowledged(self) -> None:
        self.verdict.events, self.verdict.runs = len(self._sender.acknowledged), len(self._runs)
        of_event: dict[str, set[str]] = defaultdict(set)
        for run in self._runs.values():
            of_event[run.event_id].add(run.id)
        for event_id, run_ids in self._sender.acknowledged.items():
            if of_event[event_id] != set(run_ids) or len(run_ids) != steps_of(event_id.partition("-")[0]):
                self._say("lost", f"{event_id} was acknowledged with {run_ids}, stored is {of_event[event_id]}")

    def _ended_as_it_must(self, run: _Run) -> None:
        kind = KINDS[run.name]
        found = run.status, run.reason, run.result_status
        if found == ("completed", None, "changed"):
            return
        is_asked = run.id in self._canceller.asked
        if found == ("canceled", "canceled", None) and is_asked:
            return
        if run.reason == "interrupted" and (run.attempt_count == kind.attempts or is_asked):
            return  # its policy gave it no more
        needs = {(run.event_id, f"{run.name.partition('/')[0]}/{need}") for need in kind.needs}
        if run.reason == "needs_not_met" and not needs <= self._well:
            return
        self._say("lost", f"{run.id} ({run.name}) ended as {found} after {run.attempt_count} attempts: {run.error}")

    def _told(self) -> None:
        """Each event that a run caused is there, once."""
        caused = Counter(row[0] for row in self._stage.ask("SELECT cause_run_id FROM events WHERE cause_run_id <> ''"))
        for run in self._runs.values():
            wanted = 1 if KINDS[run.name].tells and run.result_status == "changed" else 0
            if caused[run.id] != wanted:
                self._say("lost" if caused[run.id] < wanted else "doubled", f"{run.id} caused {caused[run.id]} events")

    def _canceled(self) -> None:
        for note in self._notes:
            since_s = self._canceller.acknowledged.get(note.run_id)
            if since_s is None or note.what != "E":
                continue
            is_hindered = self._befell(note.host, since_s, note.at_s)
            if note.at_s > since_s + (_CANCELED_LATE_S if is_hindered else _CANCELED_WITHIN_S):
                self._say("revived", f"{note} was canceled at {since_s}, and came to its end")
        for attempt in self._attempts.values():
            since_s = self._canceller.acknowledged.get(attempt.run_id)
            if since_s is not None and attempt.began_s > since_s + _SLACK_S:
                self._say("revived", f"{attempt} was begun after its cancel at {since_s}")

    # --- attempts

    def _attempt(self, attempt: _Attempt) -> None:
        where = f"{attempt.run_id} ({self._runs[attempt.run_id].name}) attempt {attempt.number} on {attempt.host}"
        if attempt.reason == "interrupted":
            self.verdict.interrupted += 1
            self._has_cause(where, attempt)
        is_declared = "was not heard of for" in (attempt.error or "")
        self.verdict.declared += is_declared
        if attempt.result is None:
            return
        if is_declared:
            self._say("fenced", f"{where} was declared lost, and has a result")
        said = json.loads(attempt.result)
        if (said.get("host"), said.get("attempt")) != (attempt.host, attempt.number):
            self._say("fenced", f"{where} has the result of another: {attempt.result}")
        elif not any(n.what == "E" and (n.run_id, n.attempt) == (attempt.run_id, attempt.number) for n in self._notes):
            self._say("lost", f"{where} has a result, and has not reached its end")

    def _has_cause(self, where: str, attempt: _Attempt) -> None:
        if not self._befell(attempt.host, attempt.began_s, attempt.ended_s):
            self._say("lost", f"{where} was interrupted, though nothing had befallen its host: {attempt.error}")

    def _befell(
        self, host: str, from_s: float, until_s: float, *, kinds: tuple[str, ...] = ("",), shaken_s: float = _SHAKEN_S
    ) -> bool:
        return any(
            fault.target in (SERVER, host)
            and fault.name.startswith(kinds)
            and fault.begun_s - 1 <= until_s
            and from_s <= fault.ended_s + shaken_s
            for fault in self._faults
        )

    def _was_deaf(self, host: str, from_s: float, until_s: float) -> bool:
        return self._befell(host, from_s, until_s, kinds=_DEAFENING, shaken_s=_DEAF_S)

    def _begun(self) -> None:
        for (run_id, number), starts in self._starts.items():
            attempt, before = self._attempts.get((run_id, number)), self._attempts.get((run_id, number - 1))
            if len(starts) > 1 or attempt is None or attempt.host != starts[0].host:
                self._say("doubled", f"{run_id} attempt {number} began as {starts}, stored is {attempt}")
            elif number > KINDS[starts[0].name].attempts:
                self._say("doubled", f"{run_id} attempt {number} is more than its policy allows")
            elif number > 1 and (before is None or before.reason != "interrupted"):
                self._say("doubled", f"{run_id} attempt {number} began after {before}")
            elif before is not None and starts[0].at_s < before.ended_s - _SLACK_S:
                self._say("doubled", f"{run_id} attempt {number} began at {starts[0].at_s}, before the end of {before}")

    def _locks(self) -> None:
        """A lock was taken when somebody came for it."""
        for note in self._notes:
            if note.what != "O":
                continue
            if self._is_of_the_frozen(note):
                self.verdict.thawed += 1
            else:
                self._say("overlaps" if note.lock == "run" else "keys", f"{note}; {self._around(note)}")

    def _is_of_the_frozen(self, note: Note) -> bool:
        hosts = {
            fault.target
            for fault in self._faults
            if fault.name == _FROZEN and fault.begun_s <= note.at_s <= fault.ended_s + _THAWED_S
        }
        lost = [one for one in self._attempts.values() if one.host in hosts and one.ended_s <= note.at_s + _SLACK_S]
        return any("was not heard of for" in (one.error or "") for one in lost)

    def _around(self, note: Note) -> str:
        """Who may have held the lock."""
        others = [
            one
            for one in self._attempts.values()
            if (one.run_id == note.run_id or (note.lock != "run" and self._runs[one.run_id].name == note.name))
            and one.began_s <= note.at_s and one.ended_s >= note.at_s - 30
        ]  # fmt: skip
        return f"beside {[(o.run_id, o.number, o.host, o.began_s, o.ended_s, o.error) for o in others]}"

    # --- what hosts say of each other's runs

    def _words(self) -> None:
        ends = {run_id: End(status, at_ms / 1000) for run_id, status, at_ms in self._stage.ask(_ENDS)}  # type: ignore[arg-type, operator]
        self.verdict.waits = len(self._waiter.told)
        for counter, problem in witnesses.wrong_words(self._waiter.told, ends, self._was_deaf):
            self._say(counter, problem)
        chance = random.Random(len(self._runs))
        well = sorted(run.id for run in self._runs.values() if run.result_status == "changed")
        for run_id in chance.sample(well, min(len(well), _READ)):
            self.verdict.read += 1
            host = chance.choice(list(self._stage.hosts))
            for counter, problem in witnesses.unread(run_id, host, self._stage.output(run_id, host)):
                self._say(counter, problem)

    # --- the journal, and what is left

    def _heard(self) -> None:
        there = [f"j{row[0]}" for row in self._stage.ask("SELECT cursor FROM journal ORDER BY cursor")]
        deadline = time.monotonic() + HEARD_WITHIN_S
        while there and self._reader.cursor != there[-1] and time.monotonic() < deadline:
            time.sleep(0.1)
        self._reader.end()
        heard = [str(update["cursor"]) for update in self._reader.heard]
        there = there[: there.index(heard[-1]) + 1] if heard and heard[-1] in there else there
        if heard != there:
            self.verdict.gaps += max(1, len(set(there) ^ set(heard)))
            missing = sorted(set(there) - set(heard))[:5]
            self.verdict.problems.append(f"gaps: {len(heard)} heard of {len(there)}; not heard {missing}")

    def _processes(self) -> None:
        deadline = time.monotonic() + GONE_WITHIN_S
        while (
            found := [p for host in self._stage.hosts.values() for p in host.steps()]
        ) and time.monotonic() < deadline:
            time.sleep(0.2)
        for process in found:
            self._say("leftovers", f"left behind: {process}")

    def _logs(self) -> None:
        for host in self._stage.hosts.values():
            for line in host.errors():
                self._say("errors", f"{host.name} said {line}")


_RUNS = (
    "SELECT r.id, r.flow_name, r.step_name, e.id, r.status, r.reason, r.result_status, r.attempt_count, r.error"
    " FROM runs r JOIN events e ON e.seq = r.event_seq"
)
_ATTEMPTS = (
    "SELECT r.id, a.number, a.status, a.reason, a.host, a.started_at_ms, a.completed_at_ms,"
    " coalesce(a.result, CASE WHEN a.number = r.attempt_count AND r.result_status = 'changed' THEN r.result END),"
    " a.error"
    " FROM attempts a JOIN runs r ON r.seq = a.run_seq"
)
_ENDS = (
    "SELECT r.id, j.status, j.at_ms FROM journal j JOIN runs r ON r.seq = j.run_seq"
    " WHERE j.status IN ('completed', 'failed', 'canceled') ORDER BY j.cursor"
)
_JOURNAL = (
    "SELECT j.kind, coalesce(r.id, e.id, j.flow_name), j.status, j.attempt FROM journal j"
    " LEFT JOIN runs r ON r.seq = j.run_seq LEFT JOIN events e ON e.seq = j.event_seq ORDER BY j.cursor"
)


def _run(row: tuple[Any, ...]) -> _Run:
    run_id, flow, step, *rest = row
    return _Run(run_id, name_of(flow, step), *rest)


def _attempt(row: tuple[Any, ...]) -> _Attempt:
    run_id, number, status, reason, host, began_ms, ended_ms, *rest = row
    return _Attempt(run_id, number, status, reason, host, began_ms / 1000, (ended_ms or 0) / 1000, *rest)
