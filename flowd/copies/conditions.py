"""What has to be so before a store is copied, or filled. Each raises `StateError`, with the remedy."""

from pathlib import Path

from flowd.domain.errors import StateError
from flowd.keeper.home import LOCK
from flowd.state import folder as state_folder
from flowd.state.lock import is_locked
from flowd.store.sql import hosts
from flowd.store.sql.connection import Connection

ANOTHER_SCHEMA = (
    "Take a new schema (`?schema=NAME` in the address, then `flowd store init`), or move the one that is there aside: "
    "ALTER SCHEMA … RENAME TO …"
)

_HISTORY = ("events", "runs", "pauses")


def refuse_running(db: Connection, where: str) -> None:
    """Refuse a store in which runs are running: what becomes of them is told to the store that they were begun in."""
    (running,) = db.execute(
        "SELECT count(*) FROM runs WHERE status = 'running' AND status IN ('queued', 'running')"
    ).fetchone()
    if running:
        runs = "1 run is running" if running == 1 else f"{running} runs are running"
        raise StateError(
            f"{runs} in {where}, and a copy would not hear of their ends. Start the daemon there, let them end (`flowd "
            "drain`, then wait until `flowd status` shows none), stop it, and copy then."
        )


def refuse_daemons(db: Connection, where: str) -> None:
    """Refuse a store that hosts share while daemons of theirs work on it."""
    alive = hosts.alive(db)
    if alive:
        named = ", ".join(f"{name} (heard of {silent_ms / 1000:.0f} s ago)" for name, silent_ms in alive)
        raise StateError(
            f"Daemons work on {where}: {named}. Stop them; one that was killed counts for {hosts.LIVE_MS // 1000} s."
        )


def refuse_filled(db: Connection, where: str) -> None:
    """Refuse a store that hosts share where daemons work on it, or it has something already."""
    refuse_daemons(db, where)
    if (there := has_history(db)) is not None:
        raise StateError(f"{where} is not empty: it has {there}. {ANOTHER_SCHEMA}")


def has_history(db: Connection) -> str | None:
    """What a store has that must not be overwritten, for people; None where it is as good as new. What a daemon notes
    by itself at its start, such as the packages that it has found, does not count."""
    for table in _HISTORY:
        (count,) = db.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608 - a name of ours
        if count:
            return f"{count} {table[:-1] if count == 1 else table}"
    return None


def refuse_steps(state_dir: Path) -> None:
    """Refuse a state folder whose keeper is there still: its steps outlive their daemon."""
    if is_locked(state_dir / state_folder.KEEPER / LOCK):
        raise StateError(
            f"Steps that a daemon has left behind still run: their keeper holds {state_dir / state_folder.KEEPER}. "
            "Start the daemon and let them end, or cancel them; then stop it."
        )
