"""Remembers on disk what a watch has told, so that the next daemon tells what has changed since, and nothing twice.

A file for each watch: all rows as they were told, then a record for each event. One is written before its event is
accepted and marked afterwards; an event without a mark is sent again, with the same id, by whoever reads it. A record
that is cut off was never acted upon.
"""

import json
import os
import struct
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flowd.state import files
from flowd.watching.rows import LOST, SIZE

_MAGIC = b"flowd watch 1\n"
_HEAD = struct.Struct("<IIc")
_BASE, _EVENT, _TOLD = b"b", b"e", b"t"

_LEAST_BYTES = 256 * 1024
"""Of records before the file is written anew."""

Row = tuple[str, bytes]


@dataclass(slots=True)
class Remembered:
    """What there was.

    Attributes:
        about: What was written with the rows.
        rows: By path, as they were told; the unfinished event is not among them yet.
        unfinished: An event that may have been accepted or not, and what it tells of.
        last: The newest event that was accepted.
        number: Of the newest event.
    """

    about: Mapping[str, Any]
    rows: dict[str, bytes]
    unfinished: tuple[dict[str, Any], list[Row]] | None = None
    last: Mapping[str, Any] = field(default_factory=dict)
    number: int = 0


class Memory:
    """One watch's file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._base_bytes = self._bytes = 0

    @property
    def is_long(self) -> bool:
        """Whether writing all rows anew would shorten it."""
        return self._bytes > max(_LEAST_BYTES, 2 * self._base_bytes)

    def read(self) -> Remembered | None:
        """What it has; None where there is none, or what is there cannot be read.

        Raises:
            OSError: It is there and cannot be opened.
        """
        try:
            with open(files.open_own(self._path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
                text = file.read()
        except FileNotFoundError:
            return None
        found: Remembered | None = None
        whole = len(_MAGIC)
        for kind, data, end in _records(text):
            try:
                found = _applied(found, kind, data)
            except (ValueError, KeyError, zlib.error, struct.error):
                break
            whole = end
            self._base_bytes = self._base_bytes or end
        self._bytes = whole
        if found is not None and whole != len(text):
            with open(files.open_own(self._path, os.O_WRONLY), "r+b") as file:
                file.truncate(whole)  # so that what is appended can be read
        return found

    def begin(self, about: Mapping[str, Any], rows: Iterable[Row]) -> None:
        """Write everything anew, in one step: whatever happens, the old file or the new one is there.

        Raises:
            OSError: It cannot be written. The old file is there.
        """
        text = _MAGIC + _record(_BASE, about, rows)
        made = self._path.with_name(f"{self._path.name}.new")
        self._path.parent.mkdir(mode=0o700, exist_ok=True)
        with open(files.open_own(made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NONBLOCK), "wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        made.replace(self._path)
        files.sync(os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        self._base_bytes = self._bytes = len(text)

    def write_event(self, event: Mapping[str, Any], rows: Iterable[Row]) -> None:
        """Remember an event that is about to be accepted. It is on the disk when this returns.

        Raises:
            OSError: It cannot be written; then nothing was.
        """
        self._append(_record(_EVENT, event, rows), is_synced=True)

    def write_told(self) -> None:
        """The event was accepted. Lost in a crash, this makes the next daemon send it again, which is a duplicate.

        Raises:
            OSError: It cannot be written; then nothing was.
        """
        self._append(_record(_TOLD, {}, ()), is_synced=False)

    def _append(self, record: bytes, *, is_synced: bool) -> None:
        with open(files.open_own(self._path, os.O_WRONLY | os.O_NONBLOCK), "r+b", buffering=0) as file:
            file.seek(self._bytes)
            try:
                if file.write(record) != len(record):
                    raise OSError("the disk took only a part of it")
                if is_synced:
                    os.fsync(file.fileno())
            except OSError:
                file.truncate(self._bytes)
                raise
        self._bytes += len(record)

    def touch(self) -> None:
        """Note that it is still of use."""
        if self._bytes:
            os.utime(self._path, follow_symlinks=False)


def _record(kind: bytes, about: Mapping[str, Any], rows: Iterable[Row]) -> bytes:
    pairs = list(rows)
    parts = [
        json.dumps(about, separators=(",", ":")).encode(),
        b"\0".join(os.fsencode(path) for path, _ in pairs),
        b"".join(row for _, row in pairs),
    ]
    head = struct.pack("<III", len(parts[0]), len(pairs), len(parts[1]))
    data = zlib.compress(head + b"".join(parts), 1)
    return _HEAD.pack(len(data), zlib.crc32(data), kind) + data


def _records(text: bytes) -> Iterable[tuple[bytes, bytes, int]]:
    if not text.startswith(_MAGIC):
        return
    at = len(_MAGIC)
    while at + _HEAD.size <= len(text):
        length, checksum, kind = _HEAD.unpack_from(text, at)
        at += _HEAD.size
        data = text[at : at + length]
        if len(data) != length or zlib.crc32(data) != checksum:
            return
        at += length
        yield kind, data, at


def _applied(found: Remembered | None, kind: bytes, data: bytes) -> Remembered:
    about, rows = _read(data)
    if found is None:
        if kind != _BASE:
            raise ValueError("no rows before the first event")
        return Remembered(about, dict(rows), last=about.get("last", {}), number=int(about.get("number", 0)))
    if kind == _EVENT:
        found.unfinished = about, rows
        found.number += 1
    elif found.unfinished is not None:
        event, rows = found.unfinished
        found.unfinished = None
        found.last = {"id": event["id"], "at": event["occurredAt"]}
        apply(found.rows, rows)
    return found


def apply(told: dict[str, bytes], rows: Iterable[Row]) -> None:
    """Take what an event tells of for told."""
    for path, row in rows:
        if row == LOST:
            told.pop(path, None)
        else:
            told[path] = row


def _read(data: bytes) -> tuple[dict[str, Any], list[Row]]:
    text = zlib.decompress(data)
    about_bytes, count, paths_bytes = struct.unpack_from("<III", text)
    at = 12 + about_bytes
    about = json.loads(text[12:at])
    paths = text[at : at + paths_bytes].split(b"\0") if count else []
    at += paths_bytes
    rows = [text[at + SIZE * index : at + SIZE * (index + 1)] for index in range(count)]
    return about, list(zip(map(os.fsdecode, paths), rows, strict=True))
