"""Keeps a folder for each round of those flows that ask for one, in which its steps hand files on."""

import asyncio
import json
import logging
import os
import secrets
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path

from flowd.domain import ids
from flowd.domain.filters import RunFilter
from flowd.domain.run import ProcessStatus, Run
from flowd.ports import Store
from flowd.state import files, removal

log = logging.getLogger("flowd.engine")

_PAGE = 500
ABOUT = ".json"
"""Ending of the file beside a folder that says whose it is."""

_GONE = ".gone"
"""Ending of a folder that is being removed."""


class RoundFolders:
    """The folders. One is gone with its round's last run, and kept while something in the round asks or has failed,
    until the event is forgotten."""

    def __init__(self, folder: Path, store: Store) -> None:
        self._folder = folder
        self._store = store
        self._looks: set[asyncio.Task[None]] = set()
        self._may_be_any = True
        """Whether there may be a folder: most flows ask for none, and the end of a run of these is to cost nothing."""
        self._has_made_any = False
        self._given: set[Path] = set()
        """Folders that an attempt was given since they were last looked at."""

    def make(self, run: Run) -> str:
        """The folder of a run's round, which is there then.

        Raises:
            OSError: It cannot be made.
        """
        self._may_be_any = self._has_made_any = True
        path = self._path(run)
        self._given.add(path)
        if not path.is_dir():
            self._folder.mkdir(mode=0o700, exist_ok=True)
            about = {"eventId": run.event_id, "flow": run.flow_name, "round": run.round}
            # First, so that no folder is there of which nobody knows whose it is.
            files.write_text(path.with_name(path.name + ABOUT), json.dumps(about))
            path.mkdir(mode=0o700, exist_ok=True)
        return str(path)

    def was_removed(self, run: Run) -> bool:
        """Whether somebody else has removed the folder of a run's round: what flowd knows of it is there still."""
        path = self._path(run)
        return not path.is_dir() and path.with_name(path.name + ABOUT).is_file()

    def ended(self, run: Run) -> None:
        """A run has ended: let its round's folder go if it was the last."""
        if self._may_be_any and os.path.isdir(self._path(run)):
            self._soon(run.event_id, run.flow_name, run.round)

    def sweep(self) -> None:
        """Look at every folder: rounds may have ended, and events been forgotten, while nobody looked."""
        for gone in self._folder.glob(f"*{_GONE}"):
            self._begin(asyncio.to_thread(_remove, gone))
        found = list(self._folder.glob(f"*{ABOUT}"))
        self._may_be_any = self._has_made_any or bool(found)
        for about in found:
            try:
                whose = json.loads(about.read_text(encoding="utf-8"))
                self._soon(str(whose["eventId"]), str(whose["flow"]), int(whose["round"]))
            except (OSError, ValueError, KeyError, TypeError):
                log.warning("not a round's folder", extra={"path": str(about)})

    async def looked_after(self) -> None:
        """Return when the folders that were to go by now are gone."""
        while looks := tuple(self._looks):
            await asyncio.wait(looks)

    def _path(self, run: Run) -> Path:
        return self._folder / ids.round_folder(run.event_id, run.flow_name, run.round)

    def _soon(self, event_id: str, flow_name: str, number: int) -> None:
        self._begin(self._look(event_id, flow_name, number))

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        look = asyncio.create_task(work, name="round folder")
        self._looks.add(look)
        look.add_done_callback(self._looks.discard)

    async def _look(self, event_id: str, flow_name: str, number: int) -> None:
        path = self._folder / ids.round_folder(event_id, flow_name, number)
        self._given.discard(path)
        try:
            if await self._is_wanted(event_id, flow_name, number) or path in self._given:
                return
            # Removing it may take long, and a retry may ask for it any time: it gets a new one then.
            gone = path.with_name(f"{path.name}.{secrets.token_hex(4)}{_GONE}")
            with suppress(FileNotFoundError):
                path.rename(gone)
            path.with_name(path.name + ABOUT).unlink(missing_ok=True)
            await asyncio.to_thread(_remove, gone)
        except Exception:
            log.exception("a round's folder could not be looked after", extra={"event_id": event_id, "flow": flow_name})

    async def _is_wanted(self, event_id: str, flow_name: str, number: int) -> bool:
        where, cursor = RunFilter(event_id=event_id, flow=flow_name), None
        while True:
            page = await self._store.runs(where, limit=_PAGE, cursor=cursor)
            if any(run.round == number and _needs_folder(run) for run in page.items):
                return True
            cursor = page.next_cursor
            if cursor is None:
                return False


def _needs_folder(run: Run) -> bool:
    is_failed = run.status is ProcessStatus.FAILED or run.effective_status == "failed"
    return not run.status.is_final or is_failed or run.needs_attention


def _remove(gone: Path) -> None:
    failures = removal.remove_tree(gone)
    if failures:  # it is tried again at the next start
        problem = f"{failures[0]}" + (f", and {len(failures) - 1} more" if len(failures) > 1 else "")
        log.warning("a round's folder stays", extra={"path": str(gone), "problem": problem})
