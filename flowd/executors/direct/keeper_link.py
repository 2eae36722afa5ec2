"""Keeps the daemon connected to a living keeper: when one dies, the next is started, until that is hopeless."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from flowd.domain.launching import KeeperLostError
from flowd.executors.direct.exit_watch import KeeperExitWatch
from flowd.executors.direct.launcher import Launcher, Link
from flowd.executors.direct.stream import KeeperStream
from flowd.keeper.protocol import encode

log = logging.getLogger("flowd.keeper")

STABLE_AFTER_S = 30.0
MAX_DEATHS = 6
"""So many deaths of the keeper, none of them after `STABLE_AFTER_S` of life, are no accident any more."""


class LinkUser(Protocol):
    """What the link calls back."""

    def reconcile(self, records: list[dict[str, Any]], *, is_first: bool) -> int:
        """A keeper was connected to, and knows these attempts. Returns how many steps run under it."""
        ...

    def on_frames(self, frames: list[tuple[dict[str, Any], bytes]]) -> None:
        """The keeper has sent these."""
        ...

    def is_idle(self) -> bool:
        """Whether the keeper has nothing to do, and nothing to tell."""
        ...

    def pidfds(self) -> Mapping[str, int]:
        """What the next keeper needs to learn the exits of steps that end before it is there."""
        ...

    def fail_starts(self, error: KeeperLostError) -> None:
        """The keeper has died; starts that it has not replied to may or may not have happened."""
        ...

    def fail(self, error: KeeperLostError) -> None:
        """There will be no other keeper."""
        ...


class KeeperLink:
    """The connection to whichever keeper lives.

    Attributes:
        hello: What the keeper said of itself, or the last one did.
        records: All attempts that it knew when it was connected to.
        restarts: How often another keeper has taken the place of one that died under us.
    """

    def __init__(
        self, launcher: Launcher, *, can_pidfd: bool, on_lost: Callable[[KeeperLostError], None] | None
    ) -> None:
        """Nothing happens before `open`.

        Args:
            on_lost: Called once when no keeper can be kept alive any more.
        """
        self._launcher = launcher
        self._on_lost = on_lost
        self._exit_watch = KeeperExitWatch(can_pidfd=can_pidfd)
        self._user: LinkUser | None = None
        self._connection: KeeperStream | None = None
        self._is_ready = asyncio.Event()
        self._is_gone = asyncio.Event()
        self._reconnecting: asyncio.Task[None] | None = None
        self._failure: KeeperLostError | None = None
        self._is_closing = False
        self._deaths = 0
        self._connected_at_s = 0.0
        self._is_outdated = self._is_dismissed = False
        self.hello: dict[str, Any] = {}
        self.records: tuple[dict[str, Any], ...] = ()
        self.restarts = 0

    @property
    def is_outdated(self) -> bool:
        """Whether the keeper is of another version; it is replaced as soon as it runs no step."""
        return self._is_outdated

    @property
    def is_connected(self) -> bool:
        """Whether a keeper listens to us."""
        return self._connection is not None

    async def open(self, user: LinkUser) -> None:
        """Connect to the living keeper, or start one.

        Raises:
            KeeperLostError: There is none, and none could be started; the message has the end of its log.
        """
        self._user = user
        self._use(user, await self._connect({}), is_first=True)

    async def ready(self) -> None:
        """Return when a keeper is connected.

        Raises:
            KeeperLostError: The link was closed, or no keeper can be kept alive.
        """
        while not self._is_ready.is_set():
            if self._failure is not None:
                raise self._failure
            await self._is_ready.wait()
        if self._failure is not None:
            raise self._failure

    def send(self, frame: bytes) -> bool:
        """Send a frame soon. False without a connection: then it is dropped."""
        if self._connection is None:
            return False
        self._connection.send(frame)
        return True

    def replace_if_outdated(self) -> None:
        """Replace a keeper of another version that has nothing to do. Starts wait for the next one."""
        if self._is_outdated and self.is_connected and not self._is_dismissed and self._user and self._user.is_idle():
            self._is_dismissed = True
            self._is_ready.clear()
            self.send(encode({"op": "quit"}))

    async def drain(self) -> None:
        """Send what there is, as far as the keeper takes it in a second."""
        if self._connection is not None:
            await self._connection.drain()

    async def gone(self, *, bound_s: float) -> None:
        """Return when the keeper has hung up, or after the bound."""
        try:
            await asyncio.wait_for(self._is_gone.wait(), bound_s)
        except TimeoutError:
            pass

    async def stop_reconnecting(self) -> None:
        """Start no other keeper from now on."""
        self._is_closing = True
        if self._reconnecting is not None:
            self._reconnecting.cancel()
            await asyncio.gather(self._reconnecting, return_exceptions=True)

    def close(self, error: KeeperLostError) -> None:
        """Hang up; every waiting call raises the error. Call `stop_reconnecting` before."""
        self._disconnect()
        self._exit_watch.close()
        self._fail(error)

    # --- inside

    def _use(self, user: LinkUser, link: Link, *, is_first: bool) -> None:
        self._connection = KeeperStream(
            link, on_frames=lambda frames: self._on_frames(user, frames), on_gone=lambda: self._on_gone(user)
        )
        before, self.hello, self.records = self.hello, link.hello, tuple(link.records)
        if lines := link.hello.get("bad_lines"):
            journal = str(self._launcher.directory / "keeper.journal")
            log.warning("keeper journal damaged", extra={"file": journal, "unreadable_lines": lines})
        self._connected_at_s = time.monotonic()
        adopted = user.reconcile(link.records, is_first=is_first)
        if not is_first:
            self._log_loss(before, adopted)
        self._is_outdated, self._is_dismissed = link.is_outdated, False
        self._exit_watch.watch(link.hello["pid"])
        self._is_gone.clear()
        self._is_ready.set()
        self._on_frames(user, link.frames)
        if self._is_outdated and not self._is_dismissed:
            log.warning("keeper outdated", extra={"pid": self.hello["pid"], "version": self.hello.get("version")})

    def _log_loss(self, before: Mapping[str, Any], adopted: int) -> None:
        about = {"pid": self.hello["pid"], "adopted": adopted}
        if before["keeper"] == self.hello["keeper"]:
            log.warning("keeper connected again", extra=about)
            return
        if self._is_dismissed:
            log.info("keeper replaced", extra={"old_pid": before["pid"], **about})
            return
        self.restarts += 1
        log.warning("keeper restarted", extra={"old_pid": before["pid"], **about, "ended": self._exit_watch.ended()})

    def _on_frames(self, user: LinkUser, frames: list[tuple[dict[str, Any], bytes]]) -> None:
        if any(header["op"] == "replaced" for header, _ in frames):
            self._failure = KeeperLostError("Another daemon has taken over this workspace's keeper")
        user.on_frames(frames)

    def _on_gone(self, user: LinkUser) -> None:
        self._disconnect()
        user.fail_starts(KeeperLostError("The keeper died while it was starting this step"))
        if self._failure is not None:
            self._fail(self._failure)
        elif not self._is_closing:
            is_stable = self._is_dismissed or time.monotonic() - self._connected_at_s > STABLE_AFTER_S
            self._deaths = 0 if self._is_dismissed else 1 if is_stable else self._deaths + 1
            self._reconnecting = asyncio.get_running_loop().create_task(self._reconnect(user))

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None
        self._is_ready.clear()
        self._is_gone.set()

    async def _connect(self, pidfds: Mapping[str, int]) -> Link:
        connecting = asyncio.ensure_future(asyncio.to_thread(self._launcher.connect, pidfds))
        try:
            return await asyncio.shield(connecting)
        except asyncio.CancelledError:  # the thread ends within its bound; what it brings must not be left open
            for link in await asyncio.gather(connecting, return_exceptions=True):
                if isinstance(link, Link):
                    link.socket.close()
            raise

    async def _reconnect(self, user: LinkUser) -> None:
        """Start the next keeper: at once at first, then ever later, in the end no more."""
        try:
            if self._deaths > MAX_DEATHS:
                raise KeeperLostError(
                    f"The keeper died {self._deaths} times in a row; see {self._launcher.directory}/keeper.log"
                )
            await asyncio.sleep(0.0 if self._deaths <= 3 else 0.1 * 2.0 ** (self._deaths - 3))
            self._use(user, await self._connect(user.pidfds()), is_first=False)
        except KeeperLostError as error:
            self._fail(error)

    def _fail(self, error: KeeperLostError) -> None:
        """There will be no other keeper: every waiting call raises, and ``on_lost`` is called."""
        self._failure = self._failure or error
        self._is_ready.set()
        if self._user is not None:
            self._user.fail(error)
        if self._on_lost is not None and not self._is_closing:
            self._on_lost(error)
