"""Reads the two kinds of file that can be imported, each as a `Source` of events with their runs."""

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

from flowd.domain.errors import FlowdError

SQLITE_NAME = "flow-backend.sqlite"
STATE_NAME = "state.json"
_SQLITE_MAGIC = b"SQLite format 3\0"

Record = Mapping[str, Any]


class SourceError(FlowdError):
    """A file that is none of the two, or not as they are. Names the file and the reason; nothing was imported."""

    slug = "invalid_params"


class Source(Protocol):
    """A file's events, the newest first."""

    path: Path
    kind: str

    @property
    def total(self) -> int:
        """How many events there are."""
        ...

    def run_order(self) -> list[str]:
        """Ids of all runs, the newest first."""
        ...

    def records(self) -> Iterator[tuple[Record, Sequence[Record]]]:
        """Each event with its runs, both newest first. May be called again."""
        ...

    def strays(self) -> list[str]:
        """Ids of runs whose event is not there."""
        ...


def find(path: Path) -> Path:
    """The file that a path means: itself, or the one in this folder.

    Raises:
        SourceError: There is none.
    """
    if not path.is_dir():
        return path
    for name in (SQLITE_NAME, STATE_NAME):
        if (path / name).is_file():
            return path / name
    raise SourceError(f"{path}: the folder has neither {SQLITE_NAME} nor {STATE_NAME} in it.")


def open_source(path: Path) -> Source:
    """The file's reader, chosen by what is in it and not by its name.

    Raises:
        SourceError: It cannot be read, or is neither.
    """
    try:
        with path.open("rb") as file:
            head = file.read(len(_SQLITE_MAGIC))
        return SqliteSource(path) if head == _SQLITE_MAGIC else StateSource(path)
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}.") from error


_EVENT_COLUMNS = {"id", "type", "created_at"}
_RUN_COLUMNS = {"id", "event_id", "flow_name", "step_name", "status", "created_at"}


class SqliteSource:
    """The reference backend's database: tables ``flow_events`` and ``flow_runs``, columns in snake_case."""

    kind = "sqlite"

    def __init__(self, path: Path) -> None:
        self.path = path
        with closing(self._open()) as db:
            for table, needed in (("flow_events", _EVENT_COLUMNS), ("flow_runs", _RUN_COLUMNS)):
                columns = {row[1] for row in self._ask(db, f"PRAGMA table_info({table})")}
                if not columns:
                    raise SourceError(f"{path}: has no table {table}; it is not a database of the reference system.")
                if missing := needed - columns:
                    raise SourceError(f"{path}: the table {table} has no column {', '.join(sorted(missing))}.")
            events = self._ask(db, "SELECT id FROM flow_events ORDER BY created_at DESC, id DESC")
            self._event_ids = [row[0] for row in events]
            self._runs = self._ask(db, "SELECT id, event_id FROM flow_runs ORDER BY created_at DESC, id DESC")

    @property
    def total(self) -> int:
        """How many events there are."""
        return len(self._event_ids)

    def run_order(self) -> list[str]:
        """Ids of all runs, the newest first."""
        return [run_id for run_id, _ in self._runs]

    def strays(self) -> list[str]:
        """Ids of runs whose event is not there."""
        known = set(self._event_ids)
        return [run_id for run_id, event_id in self._runs if event_id not in known]

    def records(self) -> Iterator[tuple[Record, Sequence[Record]]]:
        """Each event with its runs, both newest first."""
        of_event: dict[str, list[str]] = {}
        for run_id, event_id in self._runs:
            of_event.setdefault(event_id, []).append(run_id)
        with closing(self._open()) as db:
            db.row_factory = sqlite3.Row
            for event_id in self._event_ids:
                (row,) = self._ask(db, "SELECT * FROM flow_events WHERE id = ?", event_id)
                runs = [
                    _wire_members(found)
                    for run_id in of_event.get(event_id, ())
                    for found in self._ask(db, "SELECT * FROM flow_runs WHERE id = ?", run_id)
                ]
                yield _with_parsed(_wire_members(row), "payload", "raw"), runs

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(f"{self.path.absolute().as_uri()}?mode=ro", uri=True)

    def _ask(self, db: sqlite3.Connection, question: str, *values: str) -> list[Any]:
        try:
            return db.execute(question, values).fetchall()
        except sqlite3.Error as error:
            raise SourceError(f"{self.path}: cannot be read as a database: {error}.") from error


def _wire_members(row: sqlite3.Row) -> dict[str, Any]:
    """A row with its columns' names as on the wire; NULL is absent.

    ``result_json`` becomes ``resultJson`` and ``payload_json`` ``payload``, as in the reference system's records.
    """
    members: dict[str, Any] = {}
    for column in row.keys():  # noqa: SIM118 - a Row iterates over its values
        value = row[column]
        if value is None:
            continue
        first, *rest = column.split("_")
        members[first + "".join(word.capitalize() for word in rest)] = value
    return members


def _with_parsed(members: dict[str, Any], *names: str) -> dict[str, Any]:
    for name in names:
        value = members.pop(f"{name}Json", members.get(name))
        if isinstance(value, str | bytes):
            try:
                value = json.loads(value)
            except ValueError:
                pass  # A payload that is a plain text, as old versions stored it.
        if value is not None:
            members[name] = value
    return members


class StateSource:
    """The reference local client's snapshot: ``{events: [{event, createdAt, runIds}], runs: [view]}``."""

    kind = "state.json"

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            value = json.loads(path.read_bytes())
        except (ValueError, RecursionError) as error:
            raise SourceError(f"{path}: is neither SQLite nor JSON ({error}).") from error
        self._events = self._objects(value, "events")
        self._runs = self._objects(value, "runs")
        for index, item in enumerate(self._events):
            if not isinstance(item.get("event"), dict):
                raise SourceError(f"{path}: events[{index}] has no event in it.")

    def _objects(self, value: object, name: str) -> list[dict[str, Any]]:
        items = value.get(name) if isinstance(value, dict) else None
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise SourceError(
                f'{self.path}: "{name}" is not a list of objects; this is not the state of the reference client.'
            )
        return sorted(items, key=lambda item: str(item.get("createdAt", "")), reverse=True)

    @property
    def total(self) -> int:
        """How many events there are."""
        return len(self._events)

    def run_order(self) -> list[str]:
        """Ids of all runs, the newest first."""
        return [str(run.get("id")) for run in self._runs]

    def strays(self) -> list[str]:
        """Ids of runs whose event is not there."""
        known = {item["event"].get("id") for item in self._events}
        return [str(run.get("id")) for run in self._runs if run.get("eventId") not in known]

    def records(self) -> Iterator[tuple[Record, Sequence[Record]]]:
        """Each event with its runs, both newest first."""
        of_event: dict[object, list[Record]] = {}
        for run in self._runs:
            of_event.setdefault(run.get("eventId"), []).append(run)
        for item in self._events:
            event = item["event"]
            record = {"id": event.get("id"), "raw": event, "createdAt": item.get("createdAt")}
            yield record, of_event.get(event.get("id"), [])
