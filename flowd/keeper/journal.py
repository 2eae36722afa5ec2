"""The keeper's journal on disk: what it has begun and started, how that ended, and what the daemon has recorded.

One JSON object a line, appended before the keeper acts or reports. There is no fsync: the page cache outlives a kill
-9, and no step outlives a power cut. Neither argv nor environment is written, because they hold secrets; of
argv there is a length and a checksum (`flowd.keeper.argv_print`).
"""

from __future__ import annotations

import json
import os

from flowd.keeper.protocol import VERSION, dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

COMPACT_AT_BYTES = 1 << 20
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
EMPTY_AT_BYTES = 1 << 16
"""When nothing is left to remember, a file smaller than this is not worth emptying."""


MAX_KEEPERS = 100
"""More keepers than can have died between a start that was written down and the daemon that asks for it."""
UNKNOWN_KEEPERS = ""
"""Stands for those before journals named them."""
_BEGINNINGS = (b'{"op":"journal"', b'{"op":"begin"')
"""The first lines of journals from before they named keepers."""


class Journal:
    """An append-only file that never holds half a line between two whole ones.

    It names the keepers that have written it, the newest last. Whoever asks for an attempt of a keeper that it does not
    name asks for a journal that was taken away: that it lacks the attempt says nothing.
    """

    def __init__(self, path: str, about: Mapping[str, Any] | None = None, keepers: list[str] | None = None) -> None:
        """Open it for appending; `load` it first, and `keepers_of` it.

        Args:
            about: Which keeper writes it, for its first line.
        """
        self._path = path
        self._first = {"op": "journal", "v": VERSION, **(about or {})}
        self.keepers = keepers or []
        self._fd = os.open(path, _FLAGS, 0o600)
        self.size_bytes = os.fstat(self._fd).st_size
        self._compact_at_bytes = COMPACT_AT_BYTES
        # Facts that the disk did not take yet; they go before anything else. A torn last line is closed first.
        self._backlog = b"" if _ends_whole(path, self.size_bytes) else b"\n"

    def write_ahead(self, entry: dict[str, Any]) -> OSError | None:
        """Write what is about to be done. Returns the error where that failed: then it must not be done."""
        return self._append(self._backlog + _line(entry), self._backlog)

    def record(self, entry: dict[str, Any]) -> None:
        """Write what has happened; if the disk is full, as soon as it is not."""
        line = _line(entry)
        self._append(self._backlog + line, self._backlog + line)

    def sign(self, keeper: str) -> None:
        """Name this keeper from now on."""
        self.keepers = [*self.keepers, keeper][-MAX_KEEPERS:]
        self.record({"op": "keepers", "ids": [keeper]})

    def is_there(self) -> bool:
        """Whether the file still has its name: a rewrite brings back one that was removed."""
        try:
            there, here = os.stat(self._path), os.fstat(self._fd)
        except FileNotFoundError:
            return False
        return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino) and there.st_size >= self.size_bytes

    def compact(self, entries: list[dict[str, Any]]) -> None:
        """Keep these entries only, when the file has grown enough for that to be worth while. Atomic."""
        if self.size_bytes > (self._compact_at_bytes if entries else EMPTY_AT_BYTES):
            self.rewrite(entries)

    def rewrite(self, entries: list[dict[str, Any]]) -> None:
        """Keep these entries only. Atomic: a crash leaves the old file or the new one; an error leaves the old one."""
        temporary = self._path + ".new"
        head: list[dict[str, Any]] = [self._first, {"op": "keepers", "ids": self.keepers}]
        data = b"".join(map(_line, head + entries))
        try:
            fd = os.open(temporary, _FLAGS | os.O_TRUNC, 0o600)
            try:
                if os.write(fd, data) != len(data):
                    raise OSError(28, "short write")
                os.rename(temporary, self._path)
            except OSError:
                os.close(fd)
                raise
        except OSError:
            self._compact_at_bytes = self.size_bytes + COMPACT_AT_BYTES
            return
        os.close(self._fd)
        self._fd, self.size_bytes, self._backlog = fd, len(data), b""
        self._compact_at_bytes = max(COMPACT_AT_BYTES, 2 * len(data))

    def _append(self, data: bytes, keep: bytes) -> OSError | None:
        self._backlog = b""
        try:
            written = os.write(self._fd, data)
            if written == len(data):
                self.size_bytes += written
                return None
            os.ftruncate(self._fd, self.size_bytes)  # no torn line before the next one
            failure = OSError(28, "no space left on device")
        except OSError as error:
            failure = error
        self._backlog = keep
        return failure


def load(path: str) -> tuple[dict[str, dict[str, Any]], int]:
    """Read a journal.

    Returns:
        Per attempt that was begun and not forgotten: ``begin``, and ``started``, ``cause`` and ``exit`` where known.
        And the number of lines that could not be read: the last one may be torn by a crash.
    """
    attempts: dict[str, dict[str, Any]] = {}
    bad_lines = 0
    try:
        with open(path, "rb") as file:
            for line in file:
                try:
                    _apply(attempts, json.loads(line))
                except (ValueError, KeyError, TypeError, AttributeError):
                    bad_lines += 1
    except FileNotFoundError:
        pass
    return attempts, bad_lines


def writer(path: str) -> dict[str, Any]:
    """The first line: ``version`` and ``code`` of the keeper that writes it, which earlier ones did not tell."""
    try:
        with open(path, "rb") as file:
            first = json.loads(file.readline())
    except (OSError, ValueError):
        return {}
    return first if isinstance(first, dict) and first.get("op") == "journal" else {}


def keepers_of(path: str) -> list[str]:
    """The keepers that have written a journal; none where there is no journal, or its beginning was taken away.

    One that does not begin with what journals begin with was emptied under a keeper, which has gone on writing into it.
    """
    found: list[str] = []
    is_whole = False
    try:
        with open(path, "rb") as file:
            for number, line in enumerate(file):
                if number == 0:
                    is_whole = line.startswith(_BEGINNINGS)
                if line.startswith(b'{"op":"keepers"'):
                    try:
                        found += map(str, json.loads(line)["ids"])
                    except (ValueError, KeyError, TypeError):
                        continue
    except FileNotFoundError:
        pass
    return found or ([UNKNOWN_KEEPERS] if is_whole else [])


def _apply(attempts: dict[str, dict[str, Any]], entry: dict[str, Any]) -> None:
    match entry["op"]:
        case "begin":
            attempts[entry["id"]] = {"begin": entry}
        case "started" | "exit" | "cause" as op if entry["id"] in attempts:
            attempts[entry["id"]].setdefault(op, entry)
        case "lease":
            for attempt_id in entry["until_s"].keys() & attempts.keys():
                attempts[attempt_id]["begin"]["lease_until_s"] = entry["until_s"][attempt_id]
        case "refused":
            attempts.pop(entry["id"], None)
        case "forget":
            for attempt_id in entry["ids"]:
                attempts.pop(attempt_id, None)


def entries(attempts: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The lines that say the same as these attempts."""
    return [entry for attempt in attempts.values() for entry in attempt.values()]


def _ends_whole(path: str, size_bytes: int) -> bool:
    with open(path, "rb") as file:
        file.seek(max(0, size_bytes - 1))
        return file.read(1) in (b"", b"\n")


def _line(entry: dict[str, Any]) -> bytes:
    return dumps(entry).encode() + b"\n"
