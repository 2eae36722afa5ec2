"""The daemon's side of the keeper: starts and ends steps through it, waits for them, and outlives its death."""

import asyncio
import errno
import hashlib
import logging
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from flowd.domain.run import Exit
from flowd.executors.direct.connection import Connection
from flowd.executors.direct.exit_watch import KeeperExitWatch
from flowd.executors.direct.frames import exit_of, start_request
from flowd.executors.direct.launcher import Launcher, Link, environment_without
from flowd.executors.direct.refusals import sentence
from flowd.executors.direct.tracked import TrackedAttempt
from flowd.keeper.protocol import FrameError, encode
from flowd.ports import KeeperLostError, Launch, NoRoomError, SpawnError

log = logging.getLogger("flowd.keeper")

STABLE_AFTER_S = 30.0
MAX_DEATHS = 6
"""So many deaths of the keeper, none of them after `STABLE_AFTER_S` of life, are no accident any more."""
_CLOSE_WITHIN_S = 15.0
_ON_DISK = frozenset({"journal", "stdin", "stdout", "stderr"})
"""What a start writes to the state folder's disk; elsewhere, a full disk is the step's own trouble."""


class DirectExecutor:
    """A `flowd.ports.Keeper`.

    When the keeper dies, the next one is started at once and gets our pidfds of the steps that ran, so that it can tell
    their exits. Pending starts raise `KeeperLostError`; waits go on.
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
        self._launcher = Launcher(directory, dict(base_env), orphan_grace_s, without, python, cgroup, step_open_files)
        self._mark_suffix = mark_suffix(directory)
        self._can_pidfd = "pidfd" not in without and hasattr(os, "pidfd_open")
        self._on_lost = on_lost
        self._connection: Connection | None = None
        self._hello: dict[str, Any] = {}
        self._records: tuple[dict[str, Any], ...] = ()
        self._pursuits: dict[str, TrackedAttempt] = {}
        self._starts: dict[str, asyncio.Future[int]] = {}
        self._forgets: list[str] = []
        self._ready = asyncio.Event()
        self._gone = asyncio.Event()
        self._reconnecting: asyncio.Task[None] | None = None
        self._failure: KeeperLostError | None = None
        self._is_closing = False
        self._deaths = 0
        self._restarts = 0
        self._connected_at_s = 0.0
        self._witness = KeeperExitWatch(can_pidfd=self._can_pidfd)

    @property
    def id(self) -> str:
        """Names the keeper process we are connected to, or were last."""
        return str(self._hello.get("keeper", ""))

    @property
    def pid(self) -> int | None:
        """Its process id while we are connected."""
        return int(self._hello["pid"]) if self._connection is not None else None

    @property
    def restarts(self) -> int:
        """How often another keeper has taken the place of one that died under us."""
        return self._restarts

    @property
    def capabilities(self) -> frozenset[str]:
        """What the keeper found it can use on this machine."""
        return frozenset(self._hello.get("capabilities", ()))

    def records(self) -> tuple[dict[str, Any], ...]:
        """What the keeper knew when it was last connected to: ``id``, ``state`` (running, exited), ``pid`` …"""
        return self._records

    async def open(self) -> None:
        """Connect to the living keeper or start one. Returns when it has told all it knows.

        Raises:
            KeeperLostError: There is none, and none could be started; the message has the end of its log.
        """
        self._adopt(await self._connect({}), is_first=True)

    async def close(self, *, end_steps: bool) -> None:
        """Let go of the keeper. Waiting calls raise `KeeperLostError`.

        Args:
            end_steps: End all steps, each with its grace, and the keeper with them; else both go on without us.
        """
        self._is_closing = True
        if self._reconnecting is not None:
            self._reconnecting.cancel()
            await asyncio.gather(self._reconnecting, return_exceptions=True)
        if self._connection is not None and end_steps:
            self._send(encode({"op": "end", "cause": "daemon_ended"}))
            graces = [pursuit.grace_s for pursuit in self._pursuits.values() if pursuit.is_running]
            try:
                await asyncio.wait_for(self._gone.wait(), max(graces, default=0.0) + _CLOSE_WITHIN_S)
            except TimeoutError:
                pass
        elif self._connection is not None:
            self._send_forgets()
            await self._connection.drain()
        self._disconnect()
        self._witness.close()
        self._fail(KeeperLostError("flowd is closing its connection to the keeper"))
        for pursuit in self._pursuits.values():
            pursuit.close()

    async def start(self, launch: Launch) -> int:
        """Start a step and return its pid; 0 when it was started before and has ended.

        The start is journaled before this returns. Cancelling this call does not undo the start.

        Raises:
            SpawnError: It could not be started, and nothing runs.
            KeeperLostError: The keeper died; ask `knows`.
        """
        await self._until_ready()
        attempt_id = launch.attempt_id
        future = self._starts.get(attempt_id)
        if future is None:
            try:
                frame = encode(start_request(launch, self._mark_suffix), launch.command.stdin)
            except FrameError as error:
                raise SpawnError(f"The step is too large to start: {error}") from None
            future = self._starts[attempt_id] = asyncio.get_running_loop().create_future()
            future.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody may be left to ask
            self._pursuit(attempt_id).grace_s = launch.grace_s
            self._send(frame)
        return await asyncio.shield(future)

    async def wait(self, attempt_id: str) -> Exit:
        """How the attempt ended; without code and signal when that was never seen, or for an unknown attempt.

        Cancelling this call changes nothing else.

        Raises:
            KeeperLostError: This client was closed, or no keeper can be kept alive.
        """
        pursuit = self._pursuits.get(attempt_id)
        if pursuit is None:
            await self._until_ready()
            pursuit = self._pursuits.get(attempt_id)
        return Exit() if pursuit is None else await pursuit.wait()

    async def knows(self, attempt_id: str) -> bool:
        """Whether this attempt was begun and is not forgotten. False: no process of it was ever started.

        Raises:
            KeeperLostError: This client was closed, or no keeper can be kept alive.
        """
        await self._until_ready()
        if attempt_id in self._starts:
            await asyncio.wait([self._starts[attempt_id]])
            await self._until_ready()
        return attempt_id in self._pursuits

    async def stop(self, attempt_id: str, *, cause: str, grace_s: float) -> None:
        """Ask for the end of an attempt: SIGTERM to all of it, SIGKILL after ``grace_s``. Idempotent.

        Raises:
            KeeperLostError: This client was closed, or no keeper can be kept alive.
        """
        await self._until_ready()
        pursuit = self._pursuits.get(attempt_id)
        if pursuit is not None and pursuit.is_running:
            pursuit.stop_wish = {"op": "stop", "id": attempt_id, "cause": cause, "grace_s": grace_s}
            self._send(encode(pursuit.stop_wish))

    async def forget(self, attempt_id: str) -> None:
        """The attempt's outcome is on disk: drop its record. Idempotent; forgets are sent together."""
        pursuit = self._pursuits.get(attempt_id)
        if pursuit is None or pursuit.is_running:
            return
        del self._pursuits[attempt_id]
        if not self._forgets:
            asyncio.get_running_loop().call_soon(self._send_forgets)
        self._forgets.append(attempt_id)

    # --- connected

    def _pursuit(self, attempt_id: str) -> TrackedAttempt:
        return self._pursuits.setdefault(attempt_id, TrackedAttempt())

    async def _until_ready(self) -> None:
        while not self._ready.is_set():
            if self._failure is not None:
                raise self._failure
            await self._ready.wait()
        if self._failure is not None:
            raise self._failure

    def _adopt(self, link: Link, *, is_first: bool) -> None:
        """A keeper is there: bring our picture in line with what it knows, and listen to it."""
        self._connection = Connection(link, on_frames=self._on_frames, on_gone=self._on_gone)
        before, self._hello = self._hello, link.hello
        if lines := link.hello.get("bad_lines"):
            journal = str(self._launcher.directory / "keeper.journal")
            log.warning("keeper journal damaged", extra={"file": journal, "unreadable_lines": lines})
        self._records = tuple(link.records)
        self._connected_at_s = time.monotonic()
        if (
            not is_first
        ):  # we knew them all, so what we do not know we have forgotten, and the keeper died before it did
            strange = [record["id"] for record in link.records if record["id"] not in self._pursuits]
            self._forgets += [attempt_id for attempt_id in strange if attempt_id not in self._forgets]
        forgotten = set(self._forgets)
        known = {record["id"]: record for record in link.records if record["id"] not in forgotten}
        for attempt_id, record in known.items():
            pursuit = self._pursuit(attempt_id)
            if record["state"] == "exited":
                pursuit.end(exit_of(record))
            elif pursuit.is_running:
                self._watch(pursuit, record["pid"], record["start"])
        for attempt_id in [name for name in self._pursuits if name not in known]:
            self._missing(attempt_id)
        if not is_first:
            self._tell_of_loss(before, adopted=sum(record["state"] == "running" for record in known.values()))
        self._witness.watch(link.hello["pid"])
        self._gone.clear()
        self._ready.set()
        for pursuit in self._pursuits.values():
            if pursuit.is_running and pursuit.stop_wish is not None:
                self._send(encode(pursuit.stop_wish))
        self._send_forgets()
        self._on_frames(link.frames)

    def _tell_of_loss(self, before: Mapping[str, Any], *, adopted: int) -> None:
        about = {"pid": self._hello["pid"], "adopted": adopted}
        if before["keeper"] == self._hello["keeper"]:
            log.warning("keeper connected again", extra=about)
            return
        self._restarts += 1
        log.warning("keeper restarted", extra={"old_pid": before["pid"], **about, "ended": self._witness.ended()})

    def _missing(self, attempt_id: str) -> None:
        """The keeper does not know an attempt of ours: it was never begun, or its record is lost with the journal."""
        pursuit = self._pursuits[attempt_id]
        if not pursuit.was_started:
            del self._pursuits[attempt_id]
        pursuit.end(Exit())

    def _watch(self, pursuit: TrackedAttempt, pid: int, start: int) -> None:
        pursuit.was_started = True
        if self._can_pidfd and pid and pursuit.is_running:
            pursuit.hold(pid, start)

    def _on_frames(self, frames: list[tuple[dict[str, Any], bytes]]) -> None:
        started = []
        for header, _ in frames:
            match header["op"]:
                case "started":
                    started.append(header)
                    self._answer(header["id"], header["pid"])
                case "refused":
                    self._refused(header)
                case "exited":
                    self._pursuit(header["id"]).end(exit_of(header))
                case "replaced":
                    self._failure = KeeperLostError("Another daemon has taken over this workspace's keeper")
                case "bad":
                    self._answer(header.get("id"), KeeperLostError(f"The keeper failed: {header.get('error')}"))
                case _:
                    pass  # of a newer keeper
        for header in started:  # after the exits, so that a step that has ended already costs no pidfd
            pursuit = self._pursuits.get(header["id"])
            if pursuit is not None:
                self._watch(pursuit, header["pid"], header["start"])

    def _refused(self, header: dict[str, Any]) -> None:
        pursuit = self._pursuits.pop(header["id"], None)
        is_full = header["what"] in _ON_DISK and header.get("errno") in (errno.ENOSPC, errno.EDQUOT)
        self._answer(header["id"], (NoRoomError if is_full else SpawnError)(sentence(header)))
        if pursuit is not None:
            pursuit.end(Exit())

    def _answer(self, attempt_id: Any, answer: int | Exception) -> None:
        future = self._starts.pop(attempt_id, None)
        if future is None or future.done():
            return
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)

    def _send(self, frame: bytes) -> None:
        if self._connection is not None:
            self._connection.send(frame)

    def _send_forgets(self) -> None:
        if self._connection is not None and self._forgets:
            self._connection.send(encode({"op": "forget", "ids": self._forgets}))
            self._forgets = []

    # --- the keeper is gone

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None
        self._ready.clear()
        self._gone.set()

    def _on_gone(self) -> None:
        self._disconnect()
        for attempt_id in list(self._starts):
            self._answer(attempt_id, KeeperLostError("The keeper died while it was starting this step"))
        if self._failure is not None:
            self._fail(self._failure)
        elif not self._is_closing:
            is_stable = time.monotonic() - self._connected_at_s > STABLE_AFTER_S
            self._deaths = 1 if is_stable else self._deaths + 1
            self._reconnecting = asyncio.get_running_loop().create_task(self._reconnect())

    async def _connect(self, pidfds: Mapping[str, int]) -> Link:
        connecting = asyncio.ensure_future(asyncio.to_thread(self._launcher.connect, pidfds))
        try:
            return await asyncio.shield(connecting)
        except asyncio.CancelledError:  # the thread ends within its bound; what it brings must not be left open
            for link in await asyncio.gather(connecting, return_exceptions=True):
                if isinstance(link, Link):
                    link.socket.close()
            raise

    async def _reconnect(self) -> None:
        """Start the next keeper: at once at first, then ever later, in the end no more."""
        try:
            if self._deaths > MAX_DEATHS:
                raise KeeperLostError(
                    f"The keeper died {self._deaths} times in a row; see {self._launcher.directory}/keeper.log"
                )
            await asyncio.sleep(0.0 if self._deaths <= 3 else 0.1 * 2.0 ** (self._deaths - 3))
            pidfds = {name: pursuit.pidfd for name, pursuit in self._pursuits.items() if pursuit.pidfd >= 0}
            self._adopt(await self._connect(pidfds), is_first=False)
        except KeeperLostError as error:
            self._fail(error)

    def _fail(self, error: KeeperLostError) -> None:
        """Nothing will come any more: every waiting call hears of it, and so does the owner."""
        self._failure = self._failure or error
        self._ready.set()
        for attempt_id in list(self._starts):
            self._answer(attempt_id, error)
        for pursuit in self._pursuits.values():
            pursuit.fail(error)
        if self._on_lost is not None and not self._is_closing:
            self._on_lost(error)


def mark_suffix(directory: Path) -> str:
    """What the marks of all steps of a keeper's folder end with, after an ``@``."""
    return hashlib.sha256(os.fsencode(directory)).hexdigest()[:12]
