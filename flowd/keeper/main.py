"""The keeper process: the parent of all steps. It outlives the daemon and reports to the next one what has happened.

It uses the standard library alone, one thread, and few imports, because a fault in any of them would break the one
process that must not break. It is started as ``python -I -S``; the daemon's side is `flowd.executors.direct`.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import time

import flowd
from flowd.keeper import cgroup as cgroup_module
from flowd.keeper import signals
from flowd.keeper.adoption import Adoption
from flowd.keeper.capabilities import Capabilities, boot_id, now_s
from flowd.keeper.home import Home
from flowd.keeper.identity import ABILITIES, code
from flowd.keeper.journal import Journal, keepers_of, load
from flowd.keeper.peer import peer_uid
from flowd.keeper.proctree import Processes
from flowd.keeper.protocol import LISTEN_FD, LOCK_FD, VERSION, FrameError, FrameReader, dumps, encode
from flowd.keeper.recorder import Recorder
from flowd.keeper.spawn import Spawner
from flowd.keeper.step import INFINITY
from flowd.keeper.steps import Steps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

IDLE_EXIT_S = 5.0
"""A keeper without a daemon, without steps and without an exit to report is of no use."""
SETTLE_WITHOUT_DAEMON_S = 5.0
STARTED_WITHIN_S = 0.002
"""How long the report of a start may wait for what else is to be reported: most often that a short step has ended, so
that the daemon wakes once for both. It has been journaled by then."""
MAX_UNSENT_BYTES = 256 << 20
"""A daemon that does not read so much is disconnected; it learns everything when it connects again."""


class Keeper:
    """The keeper's loop: its connection to the daemon, and when it has nothing left to do."""

    def __init__(
        self, directory: str, without: frozenset[str], *, cgroup: str = "auto", open_files: int | None = None
    ) -> None:
        """Take over the attempts in the journal of ``directory``, and listen.

        Args:
            cgroup: The setting, see `flowd.keeper.cgroup.find`.
            open_files: The soft limit for steps; by default the one we were started with.
        """
        self.id = f"keeper-{os.urandom(6).hex()}"
        self._boot_id = boot_id()
        self._code = {"version": flowd.__version__, "code": code()}
        self._poll = select.poll()
        self._wake_fd = signals.caught()
        self._listener = socket.socket(fileno=LISTEN_FD)
        self._listener.settimeout(0)
        self._connection: socket.socket | None = None
        self._reader = FrameReader()
        self._unsent = bytearray()
        self._send_at_s = INFINITY
        self._is_greeted = False
        self._fds: list[int] = []
        self._alone_since_s = self._started_s = now_s()
        self._orphan_grace_s = 600.0
        self._is_quitting = False
        self._can = Capabilities(without)
        processes = Processes(proc=self._can.proc, pidfd=self._can.pidfd)
        path = os.path.join(directory, "keeper.journal")
        attempts, self._bad_lines = load(path)
        if self._bad_lines:
            log(f"{path}: skipped {self._bad_lines} unreadable line(s)")
        self._home = Home(directory)
        self._journal = Journal(path, self._code, keepers_of(path))
        self._journal.sign(self.id)
        self._cgroups, about_cgroups = cgroup_module.find("off" if "cgroup" in without else cgroup, directory)
        self._can.cgroup = self._cgroups is not None
        self._recorder = Recorder(
            directory,
            self.id,
            poll=self._poll,
            log=log,
            epoll=self._can.epoll,
            splice=self._can.splice,
        )
        self._steps = Steps(
            self._can,
            processes,
            journal=self._journal,
            spawner=Spawner(directory, memfd=self._can.memfd, open_files=open_files),
            recorder=self._recorder,
            poll=self._poll,
            boot_id=self._boot_id,
            report=self._send,
            cgroups=self._cgroups,
        )
        self._adoption: Adoption | None = Adoption(self._can, processes, self._steps, self._boot_id)
        self._adoption.take(attempts)
        self._recorder.take_over(self._steps.active.values())
        if self._cgroups:
            self._cgroups.sweep({step.cgroup for step in self._steps.active.values()})
        self._journal.rewrite(self._steps.entries())
        self._poll.register(self._listener, select.POLLIN)
        self._poll.register(self._wake_fd, select.POLLIN)
        log(f"{self.id} pid {os.getpid()} can {','.join(self._can.names())}; {about_cgroups}")
        log(f"took over {len(attempts)} attempt(s)")

    def run(self) -> None:
        """Serve until there is nothing left to do."""
        failures = 0
        while True:
            try:
                if self._is_done():
                    break
                self._turn()
            except Exception as error:  # noqa: BLE001 - a keeper that dies leaves steps without a parent
                failures += 1
                if failures <= 100:  # the log stays bounded
                    log(f"turn failed: {error!r}")
                time.sleep(0.05)
        self._flush()
        self._recorder.close()
        if self._cgroups:
            self._cgroups.close()

    def _turn(self) -> None:
        is_waiting = self._connection is None or self._adoption is not None  # for the end of a grace
        wake_at_s = min(self._steps.wake_at_s(), self._send_at_s)
        timeout_s = min(wake_at_s - now_s(), 0.5 if is_waiting else 3600.0)
        ready = self._poll.poll(max(0.0, timeout_s) * 1000)
        # What a daemon has asked for is done before the next one, which takes its place, is accepted.
        for fd, event in sorted(ready, key=lambda found: found[0] == LISTEN_FD):
            if fd == self._wake_fd:
                self._on_signals()
            elif fd == LISTEN_FD:
                self._accept()
            elif self._connection is not None and fd == self._connection.fileno():
                self._on_connection(event)
            elif self._recorder.owns(fd):
                self._steps.on_output(fd, event)
            else:
                self._steps.on_pidfd(fd)
        if self._adoption and now_s() - self._started_s > SETTLE_WITHOUT_DAEMON_S:
            self._settle()
        self._steps.advance()
        if now_s() >= self._send_at_s:
            self._flush()

    def _is_done(self) -> bool:
        if self._steps.active:
            is_orphaned = self._connection is None and 0 < self._orphan_grace_s <= now_s() - self._alone_since_s
            if is_orphaned and not self._steps.is_ending and not self._steps.is_leased():
                log(f"no daemon for {self._orphan_grace_s} s: ending {len(self._steps.active)} step(s)")
                self._steps.end_all("orphaned")
            return False
        if self._is_quitting or self._steps.is_ending:
            return True
        if self._connection is not None:
            return False
        alone_s = now_s() - self._alone_since_s
        return alone_s > (self._orphan_grace_s or IDLE_EXIT_S if self._steps.ended else IDLE_EXIT_S)

    # --- signals

    def _on_signals(self) -> None:
        numbers = os.read(self._wake_fd, 65536)
        if signal.SIGTERM in numbers:
            log("SIGTERM: ending all steps")
            self._settle()
            self._steps.end_all("keeper_ended")
        self._steps.reap()

    # --- the daemon

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        if self._can.peercred and peer_uid(connection) not in (os.geteuid(), 0):
            connection.close()
            return
        if self._connection is not None:
            self._send({"op": "replaced"})
            self._flush()
            self._disconnect()
        connection.settimeout(0)
        self._connection, self._reader, self._is_greeted = connection, FrameReader(), False
        self._poll.register(connection, select.POLLIN)

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._poll.unregister(self._connection)
            self._connection.close()
        self._connection = None
        self._unsent.clear()
        while self._fds:
            os.close(self._fds.pop())
        self._alone_since_s = now_s()

    def _on_connection(self, event: int) -> None:
        assert self._connection is not None
        if event & select.POLLOUT:
            self._flush()
        if not event & ~select.POLLOUT or self._connection is None:
            return
        try:
            data, fds = _receive(self._connection)
            self._fds += fds
            frames = self._reader.feed(data)
        except BlockingIOError:
            return
        except (OSError, FrameError) as error:
            log(f"disconnected: {error}")
            self._disconnect()
            return
        for header, body in frames:
            self._handle(header, body)
        if not data:
            self._disconnect()

    def _handle(self, header: dict[str, Any], body: bytes) -> None:
        try:
            self._dispatch(header, body)
        except Exception as error:  # noqa: BLE001 - whatever a frame holds, the keeper lives
            log(f"bad frame {str(header.get('op'))[:40]!r}: {error!r}")
            self._send({"op": "bad", "id": header.get("id"), "error": repr(error)[:400]})

    def _dispatch(self, header: dict[str, Any], body: bytes) -> None:
        match header["op"]:
            case "start":
                self._steps.start(header, body)
            case "stop":
                self._steps.stop(header["id"], header["cause"], float(header["grace_s"]))
            case "lease":
                self._steps.lease(header["until_s"])
            case "forget":
                self._steps.forget(header["ids"])
            case "adopt":
                self._hand_over(header["id"], self._fds.pop(0))
            case "hello":
                self._hello(header, body)
            case "end":
                self._steps.end_all(header.get("cause"))
            case "restore":
                self._restore()
            case "quit":
                self._is_quitting = True
            case unknown:
                raise FrameError(f"unknown op {unknown!r}")

    def _hello(self, header: dict[str, Any], body: bytes) -> None:
        if header["v"] != VERSION:
            raise FrameError(f"this keeper speaks version {VERSION}")
        self._steps.starter.base_env = {str(name): str(value) for name, value in json.loads(body).items()}
        self._orphan_grace_s = float(header["orphan_grace_s"])
        self._settle()
        facts: dict[str, Any] = {"op": "hello", "v": VERSION, "pid": os.getpid(), "keeper": self.id}
        facts |= {"boot_id": self._boot_id, **self._code, "abilities": sorted(ABILITIES)}
        facts["keepers"] = self._journal.keepers
        self._is_greeted = True
        if self._bad_lines:
            facts["bad_lines"], self._bad_lines = self._bad_lines, 0  # reported once
        self._send({**facts, "capabilities": self._can.names()}, dumps(self._steps.records()).encode())

    def _restore(self) -> None:
        """Somebody has removed our files: make them again, so that the next daemon finds us, and all we know."""
        made = self._home.restore()
        if not self._journal.is_there():
            self._journal.rewrite(self._steps.entries())
            made = f"{made}, journal" if made else "journal"
        if made:
            log(f"made again what was removed: {made}")

    def _hand_over(self, attempt_id: str, pidfd: int) -> None:
        if self._adoption:
            self._adoption.hand_over(attempt_id, pidfd)
        else:
            os.close(pidfd)

    def _settle(self) -> None:
        adoption, self._adoption = self._adoption, None
        if adoption:
            adoption.settle()

    def _send(self, header: dict[str, Any], body: bytes = b"") -> None:
        # What happens before the hello is among its records.
        if self._connection is not None and (self._is_greeted or header["op"] in ("bad", "replaced")):
            self._unsent += encode(header, body)
            may_wait_s = STARTED_WITHIN_S if header["op"] == "started" else 0.0
            self._send_at_s = min(self._send_at_s, now_s() + may_wait_s)

    def _flush(self) -> None:
        self._send_at_s = INFINITY
        if self._connection is None:
            return
        try:
            while self._unsent:
                del self._unsent[: self._connection.send(self._unsent)]
        except BlockingIOError:
            pass
        except OSError:
            self._disconnect()
            return
        if len(self._unsent) > MAX_UNSENT_BYTES:
            log("disconnected: the daemon does not read")
            self._disconnect()
            return
        self._poll.modify(self._connection, select.POLLIN | (select.POLLOUT if self._unsent else 0))


def _receive(connection: socket.socket) -> tuple[bytes, list[int]]:
    flags = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
    data, fds, _, _ = socket.recv_fds(connection, 65536, 16, flags)
    for fd in fds:
        os.set_inheritable(fd, False)  # noqa: FBT003
    return data, fds


def log(text: str) -> None:
    """Write a line to keeper.log, which is our stderr. Its time is UTC."""
    try:
        os.write(2, f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {text}\n".encode("utf-8", "replace"))
    except OSError:
        pass


def main(directory: str, without: str, cgroup: str = "auto", open_files: str = "") -> None:
    """Become the keeper of ``directory``; the listening socket and the lock are open as 3 and 4.

    The process that was spawned exits at once, so that no daemon ever has a keeper as its child, dead or alive.
    """
    if os.fork():
        os._exit(0)
    for fd in (LISTEN_FD, LOCK_FD):
        os.set_inheritable(fd, False)  # noqa: FBT003
    os.closerange(LOCK_FD + 1, 65536)
    os.chdir("/")
    try:
        names = frozenset(filter(None, without.split(",")))
        Keeper(directory, names, cgroup=cgroup, open_files=int(open_files) if open_files else None).run()
    except Exception as error:  # noqa: BLE001 - the daemon shows the end of this log
        log(f"cannot go on: {error!r}")
        os._exit(1)
    log("done")
    os._exit(0)
