"""What a long history costs: lists and accepts beside a million finished runs."""

import sqlite3
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

from bench.daemon import Daemon, add_flow, cpu_s, running, scratch
from bench.figures import Figure
from bench.load import Load, dispatch, send
from bench.subjects import Subject

RUNS = 1_000_000
ACCEPTS = 500
TURNS = 6
CALLS = 25

_SAYS = '#!/bin/sh\necho \'FLOW_RESULT {{"status":"{}","message":"as it was told"}}\'\n'
_ENDS = {**{f"good-{n}": "completed" for n in range(6)}, "changed": "changed", "bad": "failed"}

_LABELS = '[steps.labels]\nkind = "/type"\n'
_AGO = "created_at_ms - 1000 * (:copies - n.n)"
_EVENT = "iif(event_seq IS NULL, NULL, event_seq + :events * n.n)"
_RUN = "iif(run_seq IS NULL, NULL, run_seq + :runs * n.n)"
_ANEW = {
    "events": {"seq": "seq + :events * n.n", "id": "id || '-' || n.n", "created_at_ms": _AGO},
    "runs": {
        "seq": "seq + :runs * n.n",
        "id": "printf('run_%012x', seq + :runs * n.n)",
        "event_seq": _EVENT,
        "created_at_ms": _AGO,
    },
    "labels": {"run_seq": _RUN},
    "attempts": {"run_seq": _RUN},
    "journal": {"cursor": "cursor + :journal * n.n", "event_seq": _EVENT, "run_seq": _RUN},
}
"""By table, what a copy has anew; all other columns are those of its original."""


def history(subject: Subject) -> Iterator[Figure]:
    """Lists, filters and accepts beside a million finished runs."""
    with scratch() as empty, scratch() as full:
        for workspace in (empty, full):
            for name, status in _ENDS.items():
                add_flow(workspace, name, f"{name}.go", script=_SAYS.format(status), more=_LABELS)
        with running(subject, full) as daemon:
            for name in _ENDS:
                send(Load(daemon.socket, [dispatch(name, f"{name}.go", wait=True)], callers=1))
        multiply(full / ".codex" / "flowd" / "flowd.db", RUNS)
        with running(subject, empty) as short, running(subject, full) as long:
            spent_ms = {short.pid: 0.0, long.pid: 0.0}
            for daemon in (short, long):
                _accepts(daemon, turn=TURNS)  # after a start nothing is in SQLite's cache
            for turn in range(TURNS):
                for daemon in (short, long) if turn % 2 else (long, short):
                    spent_ms[daemon.pid] += _accepts(daemon, turn) / TURNS
            rival = {"an empty store's": spent_ms[short.pid]}
            yield Figure(f"daemon's CPU an accept beside {RUNS:,} finished runs", spent_ms[long.pid], "ms", rival)
            for name, method, params in _questions():
                if not _is_known(short, method, params):
                    continue
                fresh_ms = _asked(short, method, params)
                yield Figure(f"{name}, {RUNS:,} runs", _asked(long, method, params), "ms", {"an empty store": fresh_ms})


def _questions() -> Iterator[tuple[str, str, dict[str, object]]]:
    yield "runs, newest", "flow.listRuns", {}
    yield "runs of a flow", "flow.listRuns", {"flow": "bad"}
    yield "runs by status", "flow.listRuns", {"status": "failed"}
    yield "runs by flow and status", "flow.listRuns", {"flow": "good-1", "status": "failed"}
    yield "runs by flow and reason", "flow.listRuns", {"flow": "good-1", "reason": "exit"}
    yield "runs of a step", "flow.listRuns", {"step": "s0"}
    yield "runs by label", "flow.listRuns", {"label": ["kind=good-3.go"]}
    yield "runs by label and status", "flow.listRuns", {"label": ["kind=good-3.go"], "status": "failed"}
    yield "runs of an hour, a day ago", "flow.listRuns", {"since": "25h", "until": "24h"}
    yield "a go at runs by text that none has", "flow.listRuns", {"text": "none has this"}
    yield "events by flow and status", "flow.listEvents", {"flow": "good-1", "status": "failed"}
    yield "events by label", "flow.listEvents", {"label": ["kind=good-3.go"]}
    yield "events, newest", "flow.listEvents", {}
    yield "attention", "flow.attention", {}
    yield "queue", "flow.queue", {}
    yield "status", "daemon.status", {}


def _is_known(daemon: Daemon, method: str, params: dict[str, object]) -> bool:
    """Whether this flowd has these filters: not all of its ancestors do."""
    try:
        daemon.call(method, **params)
    except RuntimeError:
        return False
    return True


def _accepts(daemon: Daemon, turn: int) -> float:
    requests = [dispatch(f"turn-{turn}-{n}", "nobody.waits") for n in range(ACCEPTS)]
    before_s = cpu_s(daemon.pid)
    send(Load(daemon.socket, requests, callers=1))
    return (cpu_s(daemon.pid) - before_s) / ACCEPTS * 1000


def _asked(daemon: Daemon, method: str, params: dict[str, object]) -> float:
    """Milliseconds of an answer, each after a commit: pages are kept until then."""
    took_ms = []
    for call in range(CALLS):
        daemon.call("flow.dispatch", event={"id": f"{method}-{call}-{time.monotonic_ns()}", "type": "x", "payload": {}})
        began_s = time.perf_counter()
        daemon.call(method, **params)
        took_ms.append((time.perf_counter() - began_s) * 1000)
    return statistics.median(took_ms)


def multiply(database: Path, runs: int) -> None:
    """Copy all events with their runs until there are so many runs. No daemon may have the database open."""
    db = sqlite3.connect(database)
    ends = {
        table: db.execute(f"SELECT max({key}) FROM {table}").fetchone()[0]
        for table, key in (("events", "seq"), ("runs", "seq"), ("journal", "cursor"))
    }
    ends["copies"] = runs // ends["runs"]
    db.execute(
        "CREATE TEMP TABLE n AS WITH RECURSIVE n(n) AS (VALUES(1) UNION ALL SELECT n + 1 FROM n WHERE n < ?) "
        "SELECT n FROM n",
        (ends["copies"],),
    )
    with db:
        for table, anew in _ANEW.items():
            columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
            if not columns:
                continue  # a flowd from before it had this
            values = ", ".join(anew.get(name, f'"{name}"') for name in columns)
            db.execute(f"INSERT INTO {table} SELECT {values} FROM n, (SELECT * FROM {table})", ends)
    db.close()
