"""Workspaces that are hard to look at: thousands of runs, and names and output that mean harm."""

import json
import sqlite3
from typing import Any, Final

import pytest
from daemon_rig import Workspace, say


def multiply(place: Workspace, count: int) -> None:
    """Give a state whose daemon is down ``count`` more events like its newest, each with the runs that this one has.

    As if they had been dispatched: rows like those that the daemon wrote itself, under new numbers and ids.
    """
    if place.store is not None:
        pytest.skip("NOT TESTED with PostgreSQL: what is multiplied in SQLite's file")
    with sqlite3.connect(place.path / ".codex" / "flowd" / "flowd.db") as db:
        (event_seq,) = db.execute("SELECT max(seq) FROM events").fetchone()
        (run_seq,) = db.execute("SELECT max(seq) FROM runs").fetchone()
        (each,) = db.execute("SELECT count(*) FROM runs WHERE event_seq = ?", (event_seq,)).fetchone()
        numbers = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :count)"
        values = {"count": count, "event": event_seq, "each": each}
        made = {
            "events": {"seq": "seq + i", "id": "id || '-' || i"},
            "runs": {"seq": "seq + i * :each", "id": "id || printf('%06d', i)", "event_seq": "event_seq + i"},
            "attempts": {"run_seq": "run_seq + i * :each"},
        }
        of_newest = {
            "events": "seq = :event",
            "runs": "event_seq = :event",
            "attempts": f"run_seq > {run_seq - each}",
        }
        for table, changed in made.items():
            columns = [name for _, name, *_ in db.execute(f"PRAGMA table_info({table})")]
            picked = ", ".join(changed.get(name, name) for name in columns)
            db.execute(
                f"{numbers} INSERT INTO {table} ({', '.join(columns)}) SELECT {picked} FROM {table}, n "
                f"WHERE {of_newest[table]}",
                values,
            )
    db.close()


def widen(place: Workspace, steps: int, rounds: int) -> None:
    """Give the newest run of a state whose daemon is down so many steps beside it, each with a run in so many rounds.

    As if a flow of so many steps had been replayed again and again: rows like those that the daemon wrote itself.
    """
    if place.store is not None:
        pytest.skip("NOT TESTED with PostgreSQL: what is multiplied in SQLite's file")
    with sqlite3.connect(place.path / ".codex" / "flowd" / "flowd.db") as db:
        (seq,) = db.execute("SELECT max(seq) FROM runs").fetchone()
        numbers = "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < :count - 1)"
        values = {"count": steps * rounds, "steps": steps, "seq": seq}
        later = "(i / :steps) * 3600000"  # an hour between two rounds, so that each has an axis of its own
        made = {
            "runs": {
                "seq": "seq + 1 + i",
                "id": "id || printf('%06d', i)",
                "step_name": "step_name || printf('-%04d', i % :steps)",
                "round": "1 + i / :steps",
                **{name: f"{name} + {later}" for name in ("created_at_ms", "started_at_ms", "completed_at_ms")},
            },
            "attempts": {
                "run_seq": "run_seq + 1 + i",
                **{name: f"{name} + {later}" for name in ("started_at_ms", "completed_at_ms")},
            },
        }
        for table, changed in made.items():
            columns = [name for _, name, *_ in db.execute(f"PRAGMA table_info({table})")]
            picked = ", ".join(changed.get(name, name) for name in columns)
            db.execute(
                f"{numbers} INSERT INTO {table} ({', '.join(columns)}) SELECT {picked} FROM {table}, n "
                f"WHERE {'seq' if table == 'runs' else 'run_seq'} = :seq",
                values,
            )
    db.close()


HOSTILE_TEXT: Final = "</script><script>document.title='taken'</script><img src=x onerror=alert(1)>&amp;{{7*7}}\""

_HOSTILE_OUTPUT: Final = b"\n".join((
    HOSTILE_TEXT.encode(),
    b"\x1b[31mred\x1b[0m and plain again, \x1b[2J\x1b[1;1Hno clearing",
    b"\x1b]0;taken\x07\x1b]8;;javascript:alert(1)\x07a link\x1b]8;;\x07",
    b"\0\xff\x80 \xe2\x80\xaegnp.exe",
    b"\r\roverprinted",
    b"FLOW_RESULT " + json.dumps({"status": "needs_intervention", "message": HOSTILE_TEXT}).encode(),
    b"",
))  # fmt: skip


def hostile_flow(place: Workspace) -> None:
    """Add the package ``hostile``, which prints markup, escapes and what is no text, and asks the same of a person; and
    one that is broken and says why in markup."""
    folder = place.flow("hostile", 'cat "$0.printed"', top=f"description = {json.dumps(HOSTILE_TEXT)}")
    (folder / "main.sh.printed").write_bytes(_HOSTILE_OUTPUT)
    broken = place.path / "flows" / "broken"
    broken.mkdir()
    (broken / "flow.toml").write_text(f"name = 'broken'\nversion = 1\n{json.dumps(HOSTILE_TEXT)} = 1\n")


def hostile_event(number: int = 1) -> dict[str, Any]:
    """An event for it. All of its members say what must never be taken for markup."""
    odd = {HOSTILE_TEXT: [HOSTILE_TEXT, "\u202egnp.exe", "\x1b[2J\x1b]0;taken\x07"]}
    return {"id": f"{HOSTILE_TEXT}{number}", "type": "hostile.go", "source": HOSTILE_TEXT, "payload": odd}


LONG_LINE_BYTES: Final = 10_000_000
LONG_LINE_SCRIPT: Final = f"head -c {LONG_LINE_BYTES} /dev/zero | tr '\\0' x; echo; echo the end\n{say('completed')}"
