"""One watch: its files, what is remembered of them, and the event that is to be sent."""

import hashlib
import json
import logging
import os
import secrets
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from flowd.domain import watches
from flowd.domain.watches import Watch, WatchState
from flowd.watching.folders import Identity
from flowd.watching.ledger import Changed
from flowd.watching.memory import Memory, Row, apply
from flowd.watching.patterns import Selection
from flowd.watching.tree import MAX_FILES, Tree

_log = logging.getLogger("flowd.watching")


class OneWatch:
    """A watch. Its methods may be called from any thread, and wait for each other.

    Args:
        path: Of the file that remembers it.
        source: Of its events.
        nonce: Goes into the ids of its events: hosts that share a store tell of different files.
        instant: The time now, as events have it.
        max_bytes: Of the paths in an event.
    """

    def __init__(
        self,
        watch: Watch,
        *,
        workspace: str,
        path: Path,
        source: str,
        nonce: str,
        instant: Callable[[], str],
        is_own: Callable[[Identity], bool],
        max_bytes: int,
    ) -> None:
        self.watch = watch
        self._workspace = workspace
        self._memory = Memory(path)
        self._source = source
        self._nonce = nonce
        self._instant = instant
        self._is_own = is_own
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._event: Mapping[str, Any] | None = None
        self._epoch = ""
        self._number = 0
        self._last: Mapping[str, Any] = {}
        self._is_written = False
        self._written_silent = 0
        self._problem: str | None = None
        self._has_looked = False
        self.tree = self._open()

    def _open(self) -> Tree:
        try:
            found = self._memory.read()
        except OSError as error:
            self._problem = f"what was told cannot be read: {error.strerror or error}"
            found = None
        if found is None:
            self._epoch = secrets.token_hex(8)
            return self._tree(None, None)
        self._epoch, self._number = str(found.about.get("epoch")), found.number
        self._last, self._is_written = found.last, True
        if found.unfinished is not None:
            self._event, rows = found.unfinished
            apply(found.rows, rows)
        was_meant = _was_meant(found.about, self.watch)
        self._written_silent = -1 if was_meant else 0
        return self._tree(found.rows.items(), was_meant)

    def _tree(self, before: Collection[Row] | None, was_meant: Callable[[str], bool] | None) -> Tree:
        return Tree(
            self.watch,
            self._workspace,
            is_own=self._is_own,
            before=before,
            was_meant=was_meant,
            max_files=MAX_FILES,
        )

    # --- looking -----------------------------------------------------------------------------------------------------

    def look(self) -> bool:
        """Look at everything. Tells whether there is anything new to tell."""
        with self._lock:
            is_news = self.tree.look() or (not self._has_looked and self.has_news)
            self._write_anew()
            self._has_looked = True
            return is_news and self.has_news

    def look_at(self, paths: Collection[str]) -> bool:
        """Look at these absolute paths. Tells whether there is anything new to tell."""
        with self._lock:
            is_news = self.tree.look_at(paths)
            self._write_anew()
            return is_news and self.has_news

    @property
    def has_news(self) -> bool:
        """Whether there is something to take."""
        return self._event is not None or self.tree.has_news

    # --- telling -----------------------------------------------------------------------------------------------------

    def take(self, *, is_quiet: bool) -> Mapping[str, Any] | None:
        """See `flowd.ports.watches.WatchedFiles.take`."""
        with self._lock:
            if self._event is not None or not self.tree.has_news:
                return self._event
            if not self._is_written:  # a full disk, say, at the first look
                self._begin()
            changes = self.tree.peek()
            event = self._event_of(changes)
            self._memory.write_event(event, [(it.path, it.row) for it in changes])
            self.tree.take(is_quiet=is_quiet)
            self._number += 1
            self._event = event
            return event

    def told(self) -> None:
        """See `flowd.ports.watches.WatchedFiles.told`."""
        with self._lock:
            if self._event is None:
                return
            self._last = {"id": self._event["id"], "at": self._event["occurredAt"]}
            self._event = None
            try:
                self._memory.write_told()
            except OSError:  # the next process sends it again, which is a duplicate
                _log.warning("watch_not_written", exc_info=True, extra={"watch": self.watch.label})
            self._write_anew()

    def _event_of(self, changes: list[Changed]) -> dict[str, Any]:
        total = hashlib.blake2b(digest_size=16)
        total.update(json.dumps([self._nonce, self.watch.label, self._epoch, self._number]).encode())
        for it in changes:
            total.update(os.fsencode(it.path) + b"\0" + it.row)
        label = self.watch.label if len(self.watch.label) <= 500 else "long"
        return {
            "id": f"watch:{label}:{total.hexdigest()}",
            "type": self.watch.type,
            "source": self._source,
            "occurredAt": self._instant(),
            "payload": watches.payload(self.watch, ((it.path, it.change) for it in changes), max_bytes=self._max_bytes),
        }

    def _write_anew(self) -> None:
        """Write all rows where they are not written yet, or otherwise than they are; not while an event is unfinished,
        which stands in there."""
        is_due = not self._is_written or self._memory.is_long or self._written_silent != self.tree.silent_edits
        if is_due and self._event is None and self.tree.is_known:
            try:
                self._begin()
            except OSError as error:
                if self._problem is None:
                    _log.warning("watch_not_written", exc_info=True, extra={"watch": self.watch.label})
                self._problem = f"what was told cannot be written: {error.strerror or error}"

    def _begin(self) -> None:
        about = {
            "flow": self.watch.flow,
            "watch": self.watch.name,
            "paths": self.watch.paths,
            "gitignore": self.watch.gitignore,
            "epoch": self._epoch,
            "number": self._number,
            "last": self._last,
        }
        self._memory.begin(about, self.tree.told())
        self._is_written, self._problem = True, None
        self._written_silent = self.tree.silent_edits

    # --- how it is ---------------------------------------------------------------------------------------------------

    def touch(self) -> None:
        """Let its memory be kept."""
        try:
            self._memory.touch()
        except OSError:
            _log.debug("watch not touched", exc_info=True)

    def state(self, *, is_polled: bool, poll_s: float) -> WatchState:
        """How it is."""
        tree = self.tree
        problem = self._problem or next(self._problems(is_polled=is_polled, poll_s=poll_s), None)
        is_off = tree.is_too_large or (self._has_looked and not tree.standing)
        status: watches.WatchStatus = "off" if is_off else "polling" if is_polled else "watching"
        return WatchState(
            self.watch,
            status if self._has_looked else "starting",
            tree.files,
            is_changing=self._event is not None or tree.has_news,
            last_event_id=self._last.get("id"),
            last_event_at=self._last.get("at"),
            problem=problem,
        )

    def _problems(self, *, is_polled: bool, poll_s: float) -> Iterator[str]:
        tree = self.tree
        if not self._has_looked:
            return
        if tree.is_too_large:
            yield f"there are more than {MAX_FILES} files and folders; narrow its paths"
        if tree.links_out:
            yield f"{min(list(tree.links_out), default='')} is a link out of the workspace, and none such is followed"
        if not tree.standing:
            yield f"{self._workspace} cannot be looked into"
        elif not tree.files:
            yield "there is no file that its paths fit"
        if is_polled:
            yield f"the system cannot watch just now, so its files are looked at every {poll_s:.3g} s"
        if tree.unreadable:
            shown = min(list(tree.unreadable), default="") or "the workspace"
            yield f"{len(tree.unreadable)} of its folders cannot be looked into, {shown} for one"
        if tree.has_unwatchable:
            yield f"a folder's name is not Unicode, so its files are looked at every {poll_s:.3g} s"


def _was_meant(about: Mapping[str, Any], watch: Watch) -> Callable[[str], bool] | None:
    """Whether a file was looked at when this was written; None where the watch is as it was then.

    What was ignored then nobody knows, so where that has changed no new file is told of.
    """
    if about.get("gitignore") != watch.gitignore:
        return lambda _: False
    before = about.get("paths")
    return None if not isinstance(before, list) or tuple(before) == watch.paths else Selection(before).takes
