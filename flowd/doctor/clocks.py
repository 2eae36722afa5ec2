"""Checks the clocks: whether time ran backwards, and whether boots can be told apart."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime

from flowd.doctor.finding import Finding, ok, warn
from flowd.doctor.scene import Scene
from flowd.keeper.capabilities import boot_id
from flowd.store.sql.connection import Connection

TOLERANCE_MS = 2_000


def check(scene: Scene) -> Iterator[Finding]:
    """Records carry wall time; durations and timeouts do not depend on it."""
    with scene.reading() as connection:
        newest_ms = None if connection is None else _newest_ms(connection)
        now_ms = time.time_ns() // 1_000_000
        if newest_ms is not None and newest_ms > now_ms + TOLERANCE_MS:
            yield warn(
                "clock.wall",
                f"it says {_instant(now_ms)}, but the newest record is of {_instant(newest_ms)}",
                "The clock was set back, or is wrong. Correct it (timedatectl); flowd continues meanwhile.",
            )
        else:
            yield ok("clock.wall", _instant(now_ms))
        yield _boot(scene, 0 if connection is None else _of_other_boots(connection, boot_id()))


def _boot(scene: Scene, others: int) -> Finding:
    boot = boot_id()
    if not boot:
        return ok("clock.boot", "the system has no boot id; boots are told apart by start times")
    if others and not scene.has_daemon:
        return warn(
            "clock.boot",
            f"{others} runs were running when the machine was rebooted",
            "Start the daemon: it records how they ended.",
        )
    return ok("clock.boot", boot)


def _of_other_boots(connection: Connection, boot: str) -> int:
    row = connection.execute(
        "SELECT count(*) FROM attempts a JOIN runs r ON r.seq = a.run_seq"
        " WHERE r.status = 'running' AND r.status IN ('queued', 'running') AND a.status = 'running' AND a.boot_id <> ?",
        (boot,),
    ).fetchone()
    return int(row[0])


def _newest_ms(connection: Connection) -> int | None:
    row = connection.execute(
        "SELECT max(at_ms) FROM (SELECT updated_at_ms AS at_ms FROM (SELECT * FROM runs ORDER BY seq DESC LIMIT 1000)"
        " AS r UNION ALL SELECT created_at_ms FROM (SELECT * FROM events ORDER BY seq DESC LIMIT 1) AS e) AS newest"
    ).fetchone()
    return None if row[0] is None else int(row[0])


def _instant(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"
