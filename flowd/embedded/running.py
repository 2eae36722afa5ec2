"""Runs an engine for the length of a ``with`` block. Knows nothing of threads, sockets or callers."""

import asyncio
import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path

from flowd import wiring
from flowd.domain.errors import StateError
from flowd.ports import Runners
from flowd.settings import sources as settings_sources
from flowd.settings.values import Settings
from flowd.state import folder as state_folder
from flowd.state.lock import Lock
from flowd.wiring import Parts
from flowd_client import fork

LAUNCHED_BY = "flow-runtime-local-client"
"""What steps are told, as by the reference system's local client."""

ORPHAN_GRACE_S = 5.0
"""Nobody comes back for the steps of a private state folder when their caller was killed."""

_FOLDER_PREFIX = "flowd-local-"
_ABANDONED_S = 60.0
"""A private folder this old that nobody holds was left by a caller that was killed, or interrupted while it removed the
folder; its keeper has ended long since."""

_POLL_S = 0.02


class _EndedError(Exception):
    """Ends the task group, and with it the supervision of all steps."""


@contextlib.asynccontextmanager
async def running(
    settings: Settings,
    *,
    step_environ: Mapping[str, str] | None = None,
    socket_path: Path | None = None,
    keeps_steps: bool = False,
    rehearsal_socket: Path | None = None,
    around_runners: Callable[[Runners], Runners] | None = None,
) -> AsyncIterator[Parts]:
    """An open engine on a state folder whose lock the caller holds.

    At the end nothing more is started. Steps under way are ended, their own grace first, and recorded as canceled; or,
    with ``keeps_steps``, are left to the keeper for the next engine on this folder. Queued runs stay queued on disk.

    Args:
        step_environ: The whole environment of steps; None is the caller's, less flowd's secrets.
        socket_path: Told to steps.
        rehearsal_socket: Told to steps that are only tried out; likewise ``around_runners``, see `flowd.wiring.build`.

    Raises:
        StateError: State on disk cannot be used.
        ExceptionGroup: Around whatever the block raises.
    """
    environ: Mapping[str, str] = os.environ
    if step_environ is not None:
        # Interpreters are looked up for the caller, even if steps are to see no PATH.
        environ = {"PATH": os.environ.get("PATH", os.defpath), **step_environ}
    parts = await wiring.build(
        settings,
        environ=environ,
        step_environ=step_environ,
        on_storage_failure=lambda _: None,
        socket_path=socket_path,
        is_watching=False,
        launched_by=LAUNCHED_BY,
        rehearsal_socket=rehearsal_socket,
        around_runners=around_runners,
    )
    try:
        try:
            async with asyncio.TaskGroup() as tasks:
                await parts.engine.open(tasks)
                yield parts
                parts.engine.wind_down()
                if not keeps_steps:
                    await end_steps(parts)
                raise _EndedError
        except* _EndedError:
            pass
    finally:
        await parts.close(end_steps=not keeps_steps)


async def end_steps(parts: Parts, *, grace_s: float | None = None) -> None:
    """End what is under way, each step within its own grace unless told another, and record it as canceled."""
    await parts.engine.end_active(grace_s=grace_s)
    while not parts.engine.is_idle:  # noqa: ASYNC110 - each ends within its own grace, and the keeper sees to that
        await asyncio.sleep(_POLL_S)


@contextlib.contextmanager
def private_settings(workspace: Path | None) -> Iterator[Settings]:
    """Settings with a locked state folder of our own in the temporary directory, which vanishes at the end.

    Also removes what callers left there that were killed.
    """
    _sweep()
    folder = Path(tempfile.mkdtemp(prefix=_FOLDER_PREFIX))
    process = fork.generation()
    try:
        flags = {"state_dir": folder, "socket": folder / "flowd.sock", "orphan_grace_s": ORPHAN_GRACE_S}
        settings = settings_sources.load(workspace=workspace, flags=flags)
        state_folder.prepare(folder)
        with Lock(folder):
            yield settings
    finally:
        if process == fork.generation():  # not in a child that was forked, and only drops its copy of this
            shutil.rmtree(folder, ignore_errors=True)


def _sweep() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{_FOLDER_PREFIX}*"):
        with contextlib.suppress(OSError, StateError):
            status = folder.lstat()
            age_s = time.time() - status.st_mtime  # a file's time is the wall's, too
            if status.st_uid == os.geteuid() and age_s > _ABANDONED_S:
                with Lock(folder):
                    shutil.rmtree(folder, ignore_errors=True)
