"""A backup's file: a tar archive with a header, output, the database, and at the end a manifest that tells what has to
be in it. So whoever has no flowd can read it, too.
"""

import hashlib
import io
import json
import re
import tarfile
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from io import BytesIO
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Protocol

from flowd.copies.output_names import ENDINGS
from flowd.domain.errors import StateError
from flowd.state.steadily import PIECE_BYTES

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

FORMAT = 1
HEADER, DATABASE, MANIFEST = "flowd-backup.json", "flowd.db", "manifest.json"
OUTPUT = "output/"

_MAX_HEADER_BYTES = 1 << 20
_AT_ONCE_BYTES = 1 << 20
_IS_OUTPUT = re.compile(rf"{OUTPUT}[^/\0]+(?:{'|'.join(map(re.escape, ENDINGS.values()))})").fullmatch
_BROKEN = (tarfile.TarError, EOFError, zlib.error, ValueError)


class BackupError(StateError):
    """The file is no backup, or not one that can be used."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a backup is of.

    Attributes:
        store: ``file`` or ``shared``: from where it was made. What is in it is the same.
        schema: Of its database.
        begun_at_ms: All that was acknowledged before that is in it.
    """

    flowd: str
    schema: int
    store: str
    workspace: str
    host: str
    begun_at_ms: int
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class Member:
    """A file in the archive."""

    bytes: int
    sha256: str


@dataclass(slots=True)
class Manifest:
    """What is in an archive.

    Attributes:
        rows: Of each table.
        taken_at_ms: What was acknowledged after that is not in it.
        missing: Files of output that the database names and that were not there any more when the backup was made.
    """

    members: dict[str, Member] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    taken_at_ms: int = 0
    missing: list[str] = field(default_factory=list)

    @property
    def outputs(self) -> int:
        """Files of output."""
        return sum(name.startswith(OUTPUT) for name in self.members)

    @property
    def output_bytes(self) -> int:
        """Of them."""
        return sum(member.bytes for name, member in self.members.items() if name.startswith(OUTPUT))


class _Source(Protocol):
    def read(self, count: int = ..., /) -> bytes: ...


class Writer:
    """Writes an archive, front to end. As a context manager, it writes no more once something has failed."""

    def __init__(self, file: IO[bytes], header: Header) -> None:
        self.manifest = Manifest()
        self._outlet = _Outlet(file)
        self._at_s = header.begun_at_ms // 1000
        self._tar = tarfile.open(fileobj=self._outlet, mode="w|", format=tarfile.PAX_FORMAT, bufsize=_AT_ONCE_BYTES)  # noqa: SIM115
        self._tar.copybufsize = PIECE_BYTES  # type: ignore[attr-defined]
        self._add_json(HEADER, asdict(header))

    def __enter__(self) -> "Writer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._outlet.is_open = error is None  # tarfile writes the rest when it is forgotten

    def add(self, name: str, size: int, source: _Source) -> None:
        """Add a file of so many bytes.

        Raises:
            OSError: It cannot be read, or the archive cannot be written.
        """
        counted = _Counted(source, size)
        self._add(name, size, counted)
        self.manifest.members[name] = Member(size, counted.digest.hexdigest())

    def close(self) -> Manifest:
        """Write the manifest and the end. What is in the archive."""
        self._add_json(MANIFEST, asdict(self.manifest))
        self._tar.close()
        return self.manifest

    def _add_json(self, name: str, members: dict[str, Any]) -> None:
        text = json.dumps(members, indent=1).encode() + b"\n"
        self._add(name, len(text), BytesIO(text))

    def _add(self, name: str, size: int, source: _Source) -> None:
        info = tarfile.TarInfo(name)
        info.size, info.mode, info.mtime = size, 0o600, self._at_s
        self._tar.addfile(info, source)


class _Outlet(io.RawIOBase):
    """Where an archive is written to, for as long as that makes sense."""

    def __init__(self, file: IO[bytes]) -> None:
        self.is_open = True
        self._file = file

    def write(self, data: "ReadableBuffer", /) -> int:
        return self._file.write(data) if self.is_open else memoryview(data).nbytes


class _Counted:
    """So many bytes of a file, and their hash. One that has become shorter meanwhile ends with empty lines."""

    def __init__(self, source: _Source, size: int) -> None:
        self.digest = hashlib.sha256()
        self._source = source
        self._left = size

    def read(self, count: int = -1, /) -> bytes:
        wanted = self._left if count < 0 else min(count, self._left)
        data = self._source.read(wanted)
        data += b"\n" * (wanted - len(data)) if len(data) < wanted else b""
        self._left -= len(data)
        self.digest.update(data)
        return data


Into = Callable[[str], "IO[bytes] | None"]
"""Where a file of the archive goes, by its name; None: nowhere."""


def read(
    file: IO[bytes], name: str, *, accept: Callable[[Header], None], into: Into, done: Callable[[int], None]
) -> tuple[Header, Manifest]:
    """Read an archive, front to end, and check that all is there as it was written.

    Args:
        name: Of the archive, for people.
        accept: Raises for a header that is not wanted, before anything else is read.
        done: Told of how many bytes were read.

    Raises:
        BackupError: It is none, is damaged, or ends too early.
        OSError: It cannot be read, or what is in it cannot be written.
    """
    try:
        tar = tarfile.open(fileobj=file, mode="r|*", bufsize=_AT_ONCE_BYTES)  # noqa: SIM115
        header = _header(tar)
    except _BROKEN as error:
        raise BackupError(f"{name} is not a backup of flowd: {error}. `flowd backup FILE` makes one.") from error
    if header is None:
        raise BackupError(f"{name} is not a backup of flowd: it does not begin as one. `flowd backup FILE` makes one.")
    if header.format > FORMAT:
        raise BackupError(f"{name} was made by a newer flowd ({header.flowd}). Install that version to use it.")
    accept(header)
    try:
        manifest, found = _members(tar, into, done)
    except _BROKEN as error:
        raise _damaged(name, str(error)) from error
    if manifest is None:
        raise _damaged(name, "it ends too early")
    for member in sorted({*manifest.members, *found}):
        if manifest.members.get(member) != found.get(member):
            raise _damaged(name, f"{member} is not as it was written" if member in found else f"{member} is missing")
    if DATABASE not in found:
        raise _damaged(name, "it has no database")
    return header, manifest


def _damaged(name: str, what: str) -> BackupError:
    return BackupError(f"{name} is damaged: {what}. Take another backup.")


def _header(tar: tarfile.TarFile) -> Header | None:
    first = tar.next()
    file = None if first is None or first.name != HEADER or not first.isreg() else tar.extractfile(first)
    if file is None:
        return None
    members = json.loads(file.read(_MAX_HEADER_BYTES))
    names = Header.__dataclass_fields__
    try:
        return Header(**{name: value for name, value in members.items() if name in names})
    except TypeError as error:
        raise ValueError(str(error)) from error


def _members(
    tar: tarfile.TarFile, into: Into, done: Callable[[int], None]
) -> tuple[Manifest | None, dict[str, Member]]:
    found: dict[str, Member] = {}
    manifest = None
    while (info := tar.next()) is not None:
        file = tar.extractfile(info) if info.isreg() else None
        if file is None or manifest is not None or info.name in found:
            raise ValueError(f"there is no place in it for {info.name[:200]!r}")
        if info.name == MANIFEST:
            manifest = _manifest(json.loads(file.read()))
        elif info.name == DATABASE or _IS_OUTPUT(info.name):
            found[info.name] = _copy(file, into(info.name), done)
        else:
            raise ValueError(f"there is no place in it for {info.name[:200]!r}")
    return manifest, found


def _copy(file: IO[bytes], target: "IO[bytes] | None", done: Callable[[int], None]) -> Member:
    digest, size = hashlib.sha256(), 0
    try:
        while data := file.read(_AT_ONCE_BYTES):
            digest.update(data)
            size += len(data)
            if target is not None:
                target.write(data)
            done(len(data))
    finally:
        if target is not None:
            target.close()
    return Member(size, digest.hexdigest())


def _manifest(members: Any) -> Manifest:
    try:
        told = {name: Member(each["bytes"], each["sha256"]) for name, each in members["members"].items()}
        return Manifest(told, dict(members["rows"]), int(members["taken_at_ms"]), list(members["missing"]))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"its manifest lacks {error}") from error
