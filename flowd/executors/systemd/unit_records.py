"""Records of the attempts that run as units: a file each, on disk before systemd is asked for anything.

A record says that an attempt was begun, why flowd ended it, and how it ended. It goes when the outcome is in the
database. Beside it are the files that the unit reads at its start.
"""

import json
import os
import re
import threading
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from flowd.domain.ids import file_name
from flowd.state import files

_SUFFIX = "note"
"""Of records on disk since the first version that had them."""
_MARKER = "since"
"""A file that is there from the folder's first use on."""
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_QUOTED = re.compile(r'["\\$`]')


@dataclass(slots=True)
class UnitRecord:
    """One attempt.

    Attributes:
        unit: The unit's name.
        boot_id: Of the boot that it was begun in; units do not outlive one.
        is_started: systemd has taken the start over.
        cause: Why flowd ended it, as soon as it wanted to.
        exit: How it ended, as `flowd.domain.exit.Exit` has it; None while it runs.
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
    """The folder. Every change is on disk when the call returns. Threads may write the same record."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writing = threading.Lock()
        self.is_new = False
        """Whether the folder was not there, or was emptied: what it lacks may have been started."""

    def open(self) -> dict[str, UnitRecord]:
        """Make the folder, and read every record. One that cannot be read was never written whole, so nothing ran; what
        was to be given to a step without a record is removed."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.is_new = not any(self._folder.iterdir())
        (self._folder / _MARKER).touch(mode=0o600)
        known = {field.name for field in fields(UnitRecord)}
        found: dict[str, UnitRecord] = {}
        for path in sorted(self._folder.glob(f"*.{_SUFFIX}")):
            try:
                members = json.loads(path.read_bytes())
                record = UnitRecord(**{name: value for name, value in members.items() if name in known})
            except (ValueError, TypeError):
                continue
            found[record.id] = record
        self._remove_orphans(found)
        return found

    def _remove_orphans(self, known: Iterable[str]) -> None:
        """An environment is written before the record: where a daemon was killed in between, secrets would stay."""
        names = {file_name(attempt_id) for attempt_id in known}
        for kind in ("env", "stdin"):
            for path in self._folder.glob(f"*.{kind}"):
                if path.stem not in names:
                    path.unlink(missing_ok=True)

    def is_there(self) -> bool:
        """Whether nobody has removed or emptied the folder."""
        return os.path.exists(self._folder / _MARKER)

    def restore(self, records: Iterable[UnitRecord]) -> None:
        """Make the folder and these records again; not the state folder, of which one that is gone stays so.

        Raises:
            OSError: Something is in their place, or the disk takes nothing.
        """
        for folder in (self._folder.parent, self._folder):
            folder.mkdir(mode=0o700, exist_ok=True)
        for record in records:
            self.write(record)
        (self._folder / _MARKER).touch(mode=0o600)

    def write(self, record: UnitRecord) -> None:
        """Put a record on disk, whole or not at all."""
        path = self._path(record.id, _SUFFIX)
        draft = path.with_suffix(".draft")
        with self._writing:  # a stop and the end of an attempt may come together
            _write(draft, json.dumps(asdict(record), separators=(",", ":")).encode())
            os.rename(draft, path)
            files.sync(os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY))

    def write_stdin(self, attempt_id: str, content: bytes) -> Path:
        """The file of a step's standard input."""
        return _write(self._path(attempt_id, "stdin"), content)

    def write_environment(self, attempt_id: str, variables: dict[str, str]) -> Path:
        """The file that systemd reads a step's environment from.

        Not the unit's ``Environment=``: everybody on the machine can read that over D-Bus.
        """
        lines = "".join(f'{name}="{_QUOTED.sub(_escape, value)}"\n' for name, value in variables.items())
        return _write(self._path(attempt_id, "env"), lines.encode("utf-8", "surrogateescape"))

    def remove_environment(self, attempt_id: str) -> None:
        """Remove the environment, which has secrets, as soon as the step has started."""
        self._path(attempt_id, "env").unlink(missing_ok=True)

    def remove(self, attempt_id: str) -> None:
        """Remove the record of an attempt and the files beside it."""
        for kind in ("env", "stdin", _SUFFIX):
            self._path(attempt_id, kind).unlink(missing_ok=True)

    def _path(self, attempt_id: str, kind: str) -> Path:
        return self._folder / f"{file_name(attempt_id)}.{kind}"


def is_valid_value(value: str) -> bool:
    """Whether systemd takes this as a variable's value: UTF-8, and no control characters but tab and newline.

    >>> is_valid_value("two\\nlines"), is_valid_value("\\x1b[1m"), is_valid_value("\\udcff")
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
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return path
