"""The executor ``direct``: starts and ends steps through a keeper, waits for them, and outlives the keeper's death."""

import asyncio
import hashlib
import logging
import os
import sys
from asyncio import get_running_loop
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from flowd.domain.exit import Exit
from flowd.domain.launching import KeeperLostError, KeeperRecord, Launch, SpawnError
from flowd.executors import patience
from flowd.executors.direct import strays
from flowd.executors.direct.attempts import KeeperAttempts
from flowd.executors.direct.frames import start_request
from flowd.executors.direct.keeper_link import KeeperLink
from flowd.executors.direct.launcher import Launcher, environment_without
from flowd.executors.direct.refusals import refusal_message
from flowd.keeper.home import JOURNAL, LOCK, LOG, POINTER, SOCKET
from flowd.keeper.identity import ABILITIES, LEASE, abilities, asked
from flowd.keeper.journal import UNKNOWN_KEEPERS
from flowd.keeper.protocol import FrameError, encode

log = logging.getLogger("flowd.keeper")

_FORGET_WITHIN_S = 0.02
"""How long the keeper may go on to remember what is recorded; the next start takes it along."""

_CLOSE_WITHIN_S = 15.0
"""Beyond the longest grace of a step: more than the keeper needs for what outlives SIGKILL."""


class DirectExecutor:
    """A `flowd.ports.Keeper`.

    When the keeper dies, the next one is started at once and gets our pidfds of the steps that ran, so that it can
    learn their exits. Starts without a reply raise `KeeperLostError`; waits go on.
    """

    def __init__(
        self,
        directory: Path,
        *,
        base_env: Mapping[str, str],
        orphan_grace_s: float = 600.0,
        without: frozenset[str] | None = None,
        python: str = sys.executable,
        on_lost: Callable[[KeeperLostError], None] | None = None,
        cgroup: str = "auto",
        step_open_files: int | None = None,
    ) -> None:
        """Nothing happens before `open`.

        Args:
            directory: Of the keeper's own files; made with mode 0700.
            base_env: The environment of steps, below what each launch adds.
            orphan_grace_s: How long steps may run on without a daemon; 0 for ever.
            without: Capabilities to do without, for tests; by default what ``FLOWD_WITHOUT`` names.
            cgroup: Whether steps get cgroups of their own: ``auto`` where one is delegated to us, ``off``, or below the
                cgroup of this path.
            step_open_files: The soft limit of open files that steps begin with; by default our own.
            on_lost: Called when no keeper can be kept alive any more; every waiting call raises then.
        """
        directory = directory.absolute()
        if without is None:
            without = environment_without()
        can_pidfd = "pidfd" not in without and hasattr(os, "pidfd_open")
        launcher = Launcher(directory, dict(base_env), orphan_grace_s, without, python, cgroup, step_open_files)
        self._directory = directory
        self._mark_suffix = mark_suffix(directory)
        self._link = KeeperLink(launcher, can_pidfd=can_pidfd, on_lost=on_lost)
        self._attempts = KeeperAttempts(self._link.send, can_pidfd=can_pidfd)
        self._forgetting: asyncio.TimerHandle | None = None

    @property
    def id(self) -> str:
        """Names the keeper process that we are connected to, or were last."""
        return str(self._link.hello.get("keeper", ""))

    @property
    def pid(self) -> int | None:
        """The keeper's process id while we are connected."""
        return int(self._link.hello["pid"]) if self._link.is_connected else None

    @property
    def restarts(self) -> int:
        """How often another keeper has taken the place of one that died under us."""
        return self._link.restarts

    @property
    def capabilities(self) -> frozenset[str]:
        """What the keeper found it can use on this machine."""
        return frozenset(self._link.hello.get("capabilities", ()))

    @property
    def outdated(self) -> dict[str, Any] | None:
        """About a keeper of another version: its ``version``, where it tells, and what it lacks; None for ours."""
        if not self._link.is_outdated:
            return None
        hello = self._link.hello
        version = {"version": hello["version"]} if "version" in hello else {}
        return {**version, "pid": hello["pid"], "lacks": sorted(ABILITIES - abilities(hello))}

    @property
    def can_fence(self) -> bool:
        """Whether the keeper that we are connected to, or were last, knows leases: those of before them do not."""
        return LEASE in abilities(self._link.hello)

    def records(self) -> tuple[KeeperRecord, ...]:
        """What the keeper knew of every attempt when it was last connected to."""
        return cast("tuple[KeeperRecord, ...]", self._link.records)

    def remembers(self, worker_id: str) -> bool:
        """See `flowd.ports.Keeper.remembers`."""
        keepers = self._link.hello.get("keepers")
        # A keeper from before it told them, or its journal: as it always was.
        return keepers is None or worker_id in keepers or UNKNOWN_KEEPERS in keepers

    def restore(self) -> None:
        """Have the keeper make its files again that somebody has removed. Cheap where they are all there."""
        if self._link.is_connected and _is_anything_gone(self._directory):
            log.warning("keeper files removed", extra={"folder": str(self._directory), "remedy": "they are made again"})
            self._link.send(encode({"op": "restore"}))

    async def end_strays(self, attempt_id: str) -> None:
        """See `flowd.ports.Keeper.end_strays`."""
        await asyncio.to_thread(strays.end, f"{attempt_id}@{self._mark_suffix}")

    async def open(self) -> None:
        """Connect to the living keeper or start one. Returns when it has reported all that it knows.

        Raises:
            KeeperLostError: There is none, and none could be started; the message has the end of its log.
        """
        await self._link.open(self._attempts)

    async def close(self, *, end_steps: bool) -> None:
        """Disconnect from the keeper. Waiting calls raise `KeeperLostError`.

        Args:
            end_steps: End all steps, each with its grace, and the keeper with them; else both go on without us.
        """
        await self._link.stop_reconnecting()
        if end_steps and self._link.send(encode({"op": "end", "cause": "daemon_ended"})):
            longest_s = max((attempt.grace_s for attempt in self._attempts.running()), default=0.0)
            await self._link.gone(bound_s=longest_s + _CLOSE_WITHIN_S)
        else:
            self._attempts.send_forgets()
            await self._link.drain()
        self._link.close(KeeperLostError("flowd is closing its connection to the keeper"))
        self._attempts.close()

    async def start(self, launch: Launch) -> int:
        """Start a step and return its pid; 0 when it was started before and has ended.

        Tries again for a second where the program is open for writing just now, or the user has too many processes.

        The start is journaled before this returns. Cancelling this call does not undo the start.

        Raises:
            NoRoomError: The disk is full, and nothing runs.
            SpawnError: It could not be started, and nothing runs.
            KeeperLostError: The keeper died; ask `knows`.
        """
        return await patience.start(lambda: self._start(launch))

    async def _start(self, launch: Launch) -> int:
        await self._link.ready()
        attempt = self._attempts.get(launch.attempt_id)
        if attempt is None or not attempt.is_starting:
            request = start_request(launch, self._mark_suffix)
            if unknown := asked(request) - abilities(self._link.hello):  # it would not say so itself
                raise SpawnError(refusal_message({"what": "unknown", "path": ", ".join(sorted(unknown))}))
            try:
                frame = encode(request, launch.command.stdin)
            except FrameError as error:
                raise SpawnError(f"The step is too large to start: {error}") from None
            attempt = self._attempts.begin(launch)
            self._attempts.send_forgets()  # they cost the keeper no turn of its own then
            self._link.send(frame)
        return await attempt.started()

    async def wait(self, attempt_id: str) -> Exit:
        """How the attempt ended; without code and signal when that was never seen, or for an unknown attempt.

        Cancelling this call changes nothing else.

        Raises:
            KeeperLostError: This executor was closed, or no keeper can be kept alive.
        """
        attempt = self._attempts.get(attempt_id)
        if attempt is None:
            await self._link.ready()
            attempt = self._attempts.get(attempt_id)
        return Exit() if attempt is None else await attempt.wait()

    async def knows(self, attempt_id: str) -> bool:
        """Whether this attempt was begun and is not forgotten. False: no process of it was ever started.

        Raises:
            KeeperLostError: This executor was closed, or no keeper can be kept alive.
        """
        await self._link.ready()
        attempt = self._attempts.get(attempt_id)
        if attempt is not None and attempt.is_starting:
            try:
                await attempt.started()
            except (SpawnError, KeeperLostError):
                pass  # whether it is known now is the answer
            await self._link.ready()
        return self._attempts.get(attempt_id) is not None

    async def stop(self, attempt_id: str, *, cause: str, grace_s: float) -> None:
        """Ask for the end of an attempt: SIGTERM to all of it, SIGKILL after ``grace_s``. Idempotent.

        Raises:
            KeeperLostError: This executor was closed, or no keeper can be kept alive.
        """
        await self._link.ready()
        attempt = self._attempts.get(attempt_id)
        if attempt is not None and attempt.is_running:
            attempt.stop_request = {"op": "stop", "id": attempt_id, "cause": cause, "grace_s": grace_s}
            self._link.send(encode(attempt.stop_request))

    def lease(self, until_s: Mapping[str, float]) -> None:
        """See `flowd.ports.Keeper.lease`. A keeper that takes the place of this one is told the same."""
        if self.can_fence:
            self._attempts.lease(until_s)

    async def forget(self, attempt_id: str) -> None:
        """Forget an attempt whose outcome is on disk. Idempotent; one frame forgets many."""
        self._attempts.forget(attempt_id)
        if self._forgetting is None:
            self._forgetting = get_running_loop().call_later(_FORGET_WITHIN_S, self._send_forgets)

    def _send_forgets(self) -> None:
        self._forgetting = None
        self._attempts.send_forgets()
        self._link.replace_if_outdated()


def mark_suffix(directory: Path) -> str:
    """What the marks of all steps of a keeper's folder end with, after an ``@``."""
    return hashlib.sha256(os.fsencode(directory)).hexdigest()[:12]


def _is_anything_gone(directory: Path) -> bool:
    try:
        for name in (LOCK, LOG):
            os.stat(directory / name)
        is_empty = os.stat(directory / JOURNAL).st_size == 0  # it always has a head
    except FileNotFoundError:
        return True
    has_socket = any(os.path.exists(directory / name) for name in (SOCKET, POINTER))
    return is_empty or not has_socket
