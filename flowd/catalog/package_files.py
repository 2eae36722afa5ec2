"""The hash of all files of a package as they are now, for the record of what ran. Keeps digests by what stat tells."""

import asyncio
import hashlib
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from flowd.catalog.files import MAX_FILES, MAX_HASHED_BYTES, TICK_NS, Reading, Stamp, digest_of, list_files, stamp
from flowd.catalog.named_files import resolve
from flowd.domain.flow import MANIFEST

_SMALL_FILES: Final = 50
_SMALL_BYTES: Final = 256 * 1024
_MAX_PACKAGES: Final = 1_000
_MAX_WHOLE_BYTES: Final = 1 << 30
"""A larger file is told apart by its size alone, where its content is what counts."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What a package was like when it was last looked at.

    Attributes:
        stamps: Of its folders, which change when a file comes or goes, and of its files.
        is_settled: All of it had rested by then, so that its stamps can be trusted.
    """

    stamps: dict[str, Stamp | None]
    digests: dict[str, str]
    total: str | None
    is_settled: bool
    is_small: bool


class PackageFiles:
    """Implements `flowd.ports.PackageHashes`.

    On the event loop a small package costs a file status call a file, a large one nothing.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, tuple[str, ...], bool], _Known] = {}

    async def now(self, root: str, script: str) -> str | None:
        """``sha256:`` over all files of a package, as `flowd.catalog.files.digest_of` has it; None where it is gone.

        Args:
            root: The package's folder.
            script: As the manifest has it; it may lie elsewhere.
        """
        key = root, (script,), False
        known = self._known.get(key)
        if known is not None and known.is_small:
            return self._hash(*key)
        return await asyncio.to_thread(self._hash, *key)

    async def whole(self, root: str, scripts: Sequence[str]) -> str | None:
        """The same with all its scripts, and with large files by their content, too: the same in every checkout."""
        return await asyncio.to_thread(self._hash, root, tuple(scripts), True)  # noqa: FBT003

    def _hash(self, root: str, scripts: tuple[str, ...], is_by_content: bool) -> str | None:
        key = root, scripts, is_by_content
        known = self._known.get(key)
        if known is None or not known.is_settled or any(stamp(path) != seen for path, seen in known.stamps.items()):
            if len(self._known) >= _MAX_PACKAGES:
                self._known.clear()
            known = self._known[key] = _look(root, scripts, known, is_by_content=is_by_content)
        return known.total


def _look(root: str, scripts: Sequence[str], before: _Known | None, *, is_by_content: bool) -> _Known:
    at_ns = time.time_ns()
    digest = _content if is_by_content else _digest
    listed = list_files(root, MAX_FILES)
    folders, files = listed if listed is not None else ([], [])
    files = list(dict.fromkeys([resolve(root, MANIFEST), *(resolve(root, script) for script in scripts), *files]))
    stamps = {path: stamp(path) for path in (*folders, *files)}
    digests: dict[str, str] = {}
    for path in files:
        seen = stamps[path]
        if seen is None:
            continue
        is_kept = before is not None and before.is_settled and before.stamps.get(path) == seen
        digests[path] = before.digests[path] if before is not None and is_kept else digest(path)
    sizes = [seen[1] for path in files if (seen := stamps[path])]
    lying = _in_any_checkout(digests, root, scripts) if is_by_content else digests
    return _Known(
        stamps,
        digests,
        digest_of(lying, root) if digests else None,
        is_settled=max((seen[3] for seen in stamps.values() if seen), default=0) < at_ns - TICK_NS,
        is_small=len(stamps) <= _SMALL_FILES and sum(sizes) <= _SMALL_BYTES,
    )


def _in_any_checkout(digests: Mapping[str, str], root: str, scripts: Sequence[str]) -> dict[str, str]:
    """The same files; a script that the manifest names by an absolute path lies there, wherever the checkout is."""
    absolute = {resolve(root, script) for script in scripts if os.path.isabs(script)}
    outside = {path for path in absolute if not path.startswith(f"{root}{os.sep}")}
    return {(f"{root}/[absolute]{path}" if path in outside else path): found for path, found in digests.items()}


def _digest(path: str) -> str:
    reading = Reading()
    reading.note(path)
    return reading.digests.get(path, "")


def _content(path: str) -> str:
    found = stamp(path)
    if found is None or found[1] <= MAX_HASHED_BYTES:
        return _digest(path)
    if found[1] > _MAX_WHOLE_BYTES:
        return hashlib.sha256(repr(found[1]).encode()).hexdigest()
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""
