"""Writes what people said as JSON into a column, and reads it back."""

import json
from collections.abc import Sequence
from typing import Any

from flowd.domain.people import Answer, Person, Resolution
from flowd.store.sql.connection import Connection


def resolution(said: Resolution) -> str:
    """A resolution as it is stored."""
    return _text({"status": said.status, "note": said.note, "by": _by(said.by), "atMs": said.at_ms})


def read_resolution(text: str) -> Resolution:
    """A stored resolution."""
    found = json.loads(text)
    return Resolution(found["status"], _read_by(found["by"]), found["atMs"], found.get("note"))


def answer(said: Answer) -> str:
    """An answer as it is stored."""
    return _text({"input": said.input_json, "by": _by(said.by), "atMs": said.at_ms})


def read_answer(text: str) -> Answer:
    """A stored answer."""
    found = json.loads(text)
    return Answer(_read_by(found["by"]), found["atMs"], found.get("input"))


def person(said: Person) -> str:
    """Who said something, as it is stored."""
    return _text(_by(said))


def read_person(text: str) -> Person:
    """Who said something, as it was stored."""
    return _read_by(json.loads(text))


def leave_to_attempts(db: Connection, run_seqs: Sequence[int]) -> None:
    """Runs that have ended are to go on: keep with the last attempt of each what that had said, and how a person put it
    right."""
    db.executemany(
        "UPDATE attempts SET resolution = r.resolution,"
        " result_status = CASE WHEN r.resolution IS NULL THEN r.result_status ELSE r.reported_status END,"
        " result = CASE WHEN r.resolution IS NULL THEN r.result ELSE r.reported_result END"
        " FROM runs r WHERE r.seq = ? AND attempts.run_seq = r.seq AND attempts.number = r.attempt_count"
        " AND r.result_status IS NOT NULL AND r.completed_at_ms = attempts.completed_at_ms",  # else it ended unstarted
        [(seq,) for seq in run_seqs],
    )


def _by(person: Person) -> dict[str, Any]:
    return _present({"via": person.via, "uid": person.uid, "name": person.name})


def _read_by(members: dict[str, Any]) -> Person:
    return Person(members["via"], members.get("uid"), members.get("name"))


def _text(members: dict[str, Any]) -> str:
    return json.dumps(_present(members), ensure_ascii=False, separators=(",", ":"))


def _present(members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}
