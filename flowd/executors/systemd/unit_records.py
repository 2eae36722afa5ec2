"""What is remembered of attempts that run as units, on disk before systemd is asked for anything.

A folder with one note an attempt, beside the files that its unit reads at its start. A note says that an attempt was
begun, why flowd ended it, and how it ended; it goes when the outcome is in the database.
"""

import json
import os
import re
import threading
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_QUOTED = re.compile(r'["\\$`]')


@dataclass(slots=True)
class UnitRecord:
    """An attempt.

    Attributes:
        unit: The unit's name.
        boot_id: Of the boot that it was begun in; units do not outlive one.
        is_started: systemd has taken the start over.
        cause: Why flowd ended it, as soon as it wanted to.
        exit: How it ended, as `flowd.domain.run.Exit` has it; None while it runs.
    """

    id: str
    unit: str
    boot_id: str
    stdout_path: str
    stderr_path: str
    grace_s: float
    max_output_bytes: int
    detach: bool = False
    is_started: bool = False
    cause: str | None = None
    exit: dict[str, Any] | None = None


class UnitRecords:
    """The folder. Every change is on disk when the call returns. Threads may write the same note."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writing = threading.Lock()

    def open(self) -> dict[str, UnitRecord]:
        """Make the folder, and read every note in it. One that cannot be read was never finished, so nothing ran."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        known = {field.name for field in fields(UnitRecord)}
        found: dict[str, UnitRecord] = {}
        for path in sorted(self._folder.glob("*.note")):
            try:
                members = json.loads(path.read_bytes())
                note = UnitRecord(**{name: value for name, value in members.items() if name in known})
            except (ValueError, TypeError):
                continue
            found[note.id] = note
        return found

    def write(self, note: UnitRecord) -> None:
        """Put a note on disk, whole or not at all."""
        path = self._path(note.id, "note")
        draft = path.with_suffix(".draft")
        with self._writing:  # a wish to end an attempt, and the end of it
            _write(draft, json.dumps(asdict(note), separators=(",", ":")).encode())
            os.rename(draft, path)
            folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def stdin(self, attempt_id: str, content: bytes) -> Path:
        """The file that a step reads."""
        return _write(self._path(attempt_id, "stdin"), content)

    def environment(self, attempt_id: str, variables: dict[str, str]) -> Path:
        """The file that systemd reads a step's environment from.

        Not the unit's ``Environment=``: everybody on the machine can read that over D-Bus.
        """
        lines = "".join(f'{name}="{_QUOTED.sub(_escape, value)}"\n' for name, value in variables.items())
        return _write(self._path(attempt_id, "env"), lines.encode("utf-8", "surrogateescape"))

    def drop_secrets(self, attempt_id: str) -> None:
        """The step has started: nobody reads its environment from here any more."""
        self._path(attempt_id, "env").unlink(missing_ok=True)

    def remove(self, attempt_id: str) -> None:
        """Everything of an attempt."""
        for kind in ("env", "stdin", "note"):
            self._path(attempt_id, kind).unlink(missing_ok=True)

    def _path(self, attempt_id: str, kind: str) -> Path:
        return self._folder / f"{attempt_id}.{kind}"


def is_fit(value: str) -> bool:
    """Whether systemd takes this as a variable's value: UTF-8, and no control characters but tab and newline.

    >>> is_fit("two\\nlines"), is_fit("\\x1b[1m"), is_fit("\\udcff")
    (True, False, False)
    """
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return not _CONTROL.search(value)


def _escape(found: re.Match[str]) -> str:
    return "\\" + found[0]


def _write(path: Path, content: bytes) -> Path:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return path
