"""Finds what should be gone: processes of runs that have ended, and output files that the database holds."""

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from flowd.doctor.finding import Finding, ok, warn
from flowd.doctor.scene import Scene
from flowd.domain.ids import attempt_of_file, parse_attempt_id
from flowd.domain.run import ProcessStatus
from flowd.executors.direct.executor import mark_suffix
from flowd.keeper.proctree import Process, Processes
from flowd.observe.processes import ancestors
from flowd.state import folder as state_folder
from flowd.store.sql.connection import Connection
from flowd_client import wire

TERM_WITHIN_S = 2.0
KILL_WITHIN_S = 3.0
_COLUMNS = {".stdout.order": "stream_order", **{f".{stream}": stream for stream in wire.STREAMS}}
"""Where the database has what such a file has."""
SETTLED_AFTER_MS = 60_000
"""A daemon that lives removes a file within milliseconds of the outcome's commit."""


def check(scene: Scene) -> Iterator[Finding]:
    """Look for processes first: else a run that ends in between would seem to have left its process behind."""
    processes = Processes(proc=os.path.exists("/proc/self/stat"), pidfd=hasattr(os, "pidfd_open"))
    marked = _marked(scene, processes)
    with scene.reading() as connection:
        if connection is None:
            return
        standing = {attempt: _standing(connection, attempt) for attempt in {attempt for _, attempt in marked}}
        yield _processes(processes, [each for each in marked if standing[each[1]] == "ended"])
        yield from _strangers(processes, [each for each in marked if standing[each[1]] == "unknown"])
        yield _files(scene, connection)


# --- processes


def _marked(scene: Scene, processes: Processes) -> list[tuple[Process, str]]:
    """Processes of this state folder's attempts, ourselves and those around us left out, each with its attempt."""
    ending = f"@{mark_suffix(scene.keeper_folder)}".encode()
    ours = ancestors()
    found = []
    for process in processes.all().values():
        if process.is_dead or process.pid in ours:
            continue
        marks = [mark for mark in process.marks if mark.endswith(ending)]
        found += [(process, mark[: -len(ending)].decode("utf-8", "replace")) for mark in marks]
    return found


def _standing(connection: Connection, attempt: str) -> str:
    """``wanted`` where an attempt runs, or its step asked for its processes to be left alone; ``ended``, or ``unknown``
    where the database has no such attempt."""
    run_id, number = parse_attempt_id(attempt)
    row = connection.execute(
        "SELECT a.status, d.body FROM attempts a"
        " JOIN runs r ON r.seq = a.run_seq LEFT JOIN definitions d ON d.id = a.definition_id"
        " WHERE r.id = ? AND a.number = ?",
        (run_id, number),
    ).fetchone()
    if row is None:
        return "unknown"
    is_detached = row[1] is not None and bool(json.loads(row[1]).get("detach"))
    return "wanted" if row[0] == ProcessStatus.RUNNING or is_detached else "ended"


def _processes(processes: Processes, unwanted: list[tuple[Process, str]]) -> Finding:
    alive = [(process, attempt) for process, attempt in unwanted if _is_there(processes, process)]
    if not alive:
        return ok("leftovers.processes", "none")
    named = "; ".join(f"{process} of {attempt}" for process, attempt in alive[:10])
    more = f" and {len(alive) - 10} more" if len(alive) > 10 else ""
    return warn(
        "leftovers.processes",
        f"still run though their runs have ended: {named}{more}",
        "End them: kill " + " ".join(str(process.pid) for process, _ in alive[:10]) + "; or `flowd doctor --repair`.",
        lambda: _end(processes, [process for process, _ in alive]),
    )


def _strangers(processes: Processes, unknown: list[tuple[Process, str]]) -> Iterator[Finding]:
    """Of a run that was pruned, a process may be wanted: its step had ``detach = true``, which nobody knows now."""
    alive = [(process, attempt) for process, attempt in unknown if _is_there(processes, process)]
    if alive:
        yield warn(
            "leftovers.unknown",
            "still run, of runs that the database does not know (any more): "
            + "; ".join(f"{process} of {attempt}" for process, attempt in alive[:10]),
            "End those that nobody wants: kill " + " ".join(str(process.pid) for process, _ in alive[:10]),
        )


def _is_there(processes: Processes, process: Process) -> bool:
    now = processes.look(process.pid)
    return now is not None and not now.is_dead and processes.is_same(now, process.start)


def _end(processes: Processes, unwanted: list[Process]) -> str:
    done = []
    for number, within_s in ((signal.SIGTERM, TERM_WITHIN_S), (signal.SIGKILL, KILL_WITHIN_S)):
        alive = [process for process in unwanted if _is_there(processes, process)]
        done += [f"{number.name} to {process}" for process in alive if processes.signal(process, number)]
        deadline = time.monotonic() + within_s
        while any(_is_there(processes, process) for process in alive) and time.monotonic() < deadline:
            time.sleep(0.02)
    left = [str(process) for process in unwanted if _is_there(processes, process)]
    return f"sent {', '.join(done)}" + (f"; still there: {', '.join(left)}" if left else "") if done else ""


# --- files


def _files(scene: Scene, connection: Connection) -> Finding:
    folder = scene.folder / state_folder.OUTPUT
    spare, strange = [], []
    for path in sorted(folder.glob("*.std*")):
        match _use(connection, path):
            case "spare":
                spare.append(path)
            case "strange":
                strange.append(path)
    if strange:
        size = sum(path.stat().st_size for path in strange) / (1 << 20)
        return warn(
            "leftovers.output",
            f"{len(strange)} files ({size:.1f} MiB) in {folder} are of runs that the database does not know",
            "If the database was restored from a backup, they are newer than it; remove them when nobody needs them.",
        )
    if spare:
        return warn(
            "leftovers.output",
            f"{len(spare)} files in {folder} hold what the database has too",
            "They only take space; `flowd doctor --repair` removes them.",
            lambda: _remove(scene, spare),
        )
    return ok("leftovers.output", "none")


def _use(connection: Connection, path: Path) -> str:
    """``needed``, ``spare`` where the database has the very same bytes, or ``strange`` where no attempt wants it."""
    suffix = next((suffix for suffix in _COLUMNS if path.name.endswith(suffix)), "")
    attempt = attempt_of_file(path.name.removesuffix(suffix))
    if not suffix or attempt is None:
        return "needed"
    try:
        run_id, number = parse_attempt_id(attempt)
    except ValueError:
        return "strange"
    row = connection.execute(
        f"SELECT a.completed_at_ms, a.{_COLUMNS[suffix]} FROM attempts a JOIN runs r ON r.seq = a.run_seq"  # noqa: S608 - see above
        " WHERE r.id = ? AND a.number = ?",
        (run_id, number),
    ).fetchone()
    now_ms = time.time_ns() // 1_000_000
    try:
        status = path.stat()
        if row is None:
            return "strange" if now_ms - status.st_mtime_ns // 1_000_000 > SETTLED_AFTER_MS else "needed"
        completed_at_ms, inline = row
        if completed_at_ms is None or inline is None or now_ms - completed_at_ms < SETTLED_AFTER_MS:
            return "needed"
        return "spare" if status.st_size == len(inline) and path.read_bytes() == inline else "needed"
    except FileNotFoundError:
        return "needed"


def _remove(scene: Scene, spare: list[Path]) -> str:
    done = []
    with scene.reading() as connection:
        for path in spare:
            if connection is not None and _use(connection, path) == "spare":
                path.unlink()
                done.append(path.name)
    return f"removed {', '.join(done)}" if done else ""
