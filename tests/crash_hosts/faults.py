"""What befalls hosts and their server, and for how long."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import psutil
from crash.crashpoint import HOST_POINTS, KEEPER_POINTS, WRITER_POINTS
from crash_hosts.stage import Host, Stage

SERVER = "server"
_PAST_LEASE_S = (17.0, 24.0)
_AT_A_TIME = 2
"""Hosts in trouble: somebody has to be there for those who ask."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A fault.

    Attributes:
        begin: Makes it.
        end: Undoes it; what was killed comes back by itself.
        seconds: From the one to the other, at least and at most.
        weight: How often it happens.
    """

    begin: Callable[[Host], None]
    end: Callable[[Host], None]
    seconds: tuple[float, float]
    weight: int = 2


def _down(host: Host) -> None:
    host.is_wanted = False
    host.signal_daemon(signal.SIGKILL)


def _stop(host: Host) -> None:
    host.is_wanted = False
    host.signal_daemon(signal.SIGTERM)


def _die(host: Host) -> None:
    host.is_wanted = False
    host.die()


def _kill_keeper(host: Host) -> None:
    host.signal_keeper(signal.SIGKILL)


def _kill_both(host: Host) -> None:
    host.signal_keeper(signal.SIGKILL)
    host.signal_daemon(signal.SIGKILL)


def _both_down(host: Host) -> None:
    host.is_wanted = False
    _kill_both(host)


def _up(host: Host) -> None:
    host.is_wanted = True


def _freeze_keeper(host: Host) -> None:
    host.signal_keeper(signal.SIGSTOP)


def _thaw_keeper(host: Host) -> None:
    host.signal_keeper(signal.SIGCONT)


def _pause(host: Host) -> None:
    host.link.pause()


def _cut(host: Host) -> None:
    host.link.cut()


def _restore(host: Host) -> None:
    host.link.restore()


def _die_at_a_point(host: Host) -> None:
    host.arm("daemon", host.chance.choice(HOST_POINTS))


def _keeper_dies_at_a_point(host: Host) -> None:
    host.arm("keeper", host.chance.choice(KEEPER_POINTS))


def _freeze_at_a_point(host: Host) -> None:
    host.arm("daemon", host.chance.choice(WRITER_POINTS), stop=True)


def _disarm(host: Host) -> None:
    host.disarm()
    host.signal_daemon(signal.SIGCONT)


def _nothing(_: Host) -> None:
    pass


def _freeze(host: Host) -> None:
    host.signal_daemon(signal.SIGSTOP)


def _thaw(host: Host) -> None:
    host.signal_daemon(signal.SIGCONT)


OF_HOSTS = {
    "daemon killed": Kind(_down, _up, (0.1, 3.0), 6),
    "daemon killed, away past the lease": Kind(_down, _up, _PAST_LEASE_S, 3),
    "daemon stopped and started": Kind(_stop, _up, (1.0, 4.0)),
    "daemon frozen": Kind(_freeze, _thaw, (0.3, 6.0), 4),
    "daemon frozen past the lease": Kind(_freeze, _thaw, _PAST_LEASE_S, 4),
    "keeper killed": Kind(_kill_keeper, _nothing, (0.5, 2.0), 4),
    "keeper frozen": Kind(_freeze_keeper, _thaw_keeper, (0.3, 3.0)),
    "daemon dies at a point": Kind(_die_at_a_point, _disarm, (4.0, 12.0), 8),
    "keeper dies at a point": Kind(_keeper_dies_at_a_point, _disarm, (4.0, 12.0), 4),
    "daemon freezes in a transaction": Kind(_freeze_at_a_point, _disarm, (4.0, 12.0), 4),
    "daemon freezes in one past the lease": Kind(_freeze_at_a_point, _disarm, _PAST_LEASE_S, 2),
    "daemon and keeper killed": Kind(_kill_both, _nothing, (0.5, 2.0), 3),
    "daemon and keeper killed, away past the lease": Kind(_both_down, _up, _PAST_LEASE_S, 3),
    "host dead": Kind(_die, _up, (0.5, 22.0), 3),
    "host frozen": Kind(Host.freeze, Host.thaw, (1.0, 22.0), 2),
    "link stands still": Kind(_pause, _restore, (0.5, 8.0), 4),
    "link stands still past the lease": Kind(_pause, _restore, _PAST_LEASE_S, 4),
    "link cut": Kind(_cut, _restore, (0.2, 6.0), 3),
    "link cut past the lease": Kind(_cut, _restore, _PAST_LEASE_S, 3),
}


def _kill_server(stage: Stage) -> None:
    os.kill(stage.server.pid, signal.SIGKILL)


def _stop_at_once(stage: Stage) -> None:
    stage.server.stop("immediate")


def _stop_well(stage: Stage) -> None:
    stage.server.stop("fast")


def _freeze_server(stage: Stage) -> None:
    _signal_server(stage, signal.SIGSTOP)


def _thaw_server(stage: Stage) -> None:
    _signal_server(stage, signal.SIGCONT)


def _signal_server(stage: Stage, what: int) -> None:
    parent = psutil.Process(stage.server.pid)
    for process in [parent, *parent.children(recursive=True)]:
        try:
            process.send_signal(what)
        except psutil.Error:
            continue


def _revive(stage: Stage) -> None:
    """Start it again. What is left of one that was killed may hold its memory for a moment."""
    deadline = time.monotonic() + 30
    while True:
        stage.server.stop("immediate")
        try:
            stage.server.start()
        except AssertionError:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        else:
            return


@dataclass(frozen=True, slots=True)
class ServerKind:
    """The same for the server."""

    begin: Callable[[Stage], None]
    end: Callable[[Stage], None]
    seconds: tuple[float, float]
    weight: int = 2


OF_SERVER = {
    "server killed": ServerKind(_kill_server, _revive, (0.1, 3.0), 4),
    "server stopped at once": ServerKind(_stop_at_once, _revive, (0.1, 4.0), 4),
    "server restarted": ServerKind(_stop_well, _revive, (0.1, 1.0), 2),
    "server frozen": ServerKind(_freeze_server, _thaw_server, (0.5, 8.0), 2),
    "database away for seconds": ServerKind(_stop_at_once, _revive, (5.0, 12.0), 3),
    "database away for a minute": ServerKind(_stop_at_once, _revive, (60.0, 60.0), 1),
}
KINDS = (*OF_HOSTS, *OF_SERVER)


@dataclass(slots=True)
class Fault:
    """One that has happened, or goes on. Instants are wall time.

    Attributes:
        was_in_vain: Whom it was to befall was not there, or did not pass the point in time.
    """

    name: str
    target: str
    begun_s: float
    until_s: float
    ended_s: float = field(default=float("inf"))
    was_in_vain: bool = False


class Misfortune:
    """Makes faults at random, some at a time, and undoes them.

    Attributes:
        story: All of them.
    """

    def __init__(self, stage: Stage, seed: int, only: str = "") -> None:
        self._stage = stage
        self._random = random.Random(seed)
        self._bag = [
            name for name, kind in (OF_HOSTS | OF_SERVER).items() for _ in range(kind.weight) if only in ("", name)
        ]
        self._next = self._random.choice(self._bag)
        self.story: list[Fault] = []

    @property
    def under_way(self) -> list[Fault]:
        """Those that were not undone yet."""
        return [fault for fault in self.story if fault.ended_s == float("inf")]

    def strike(self) -> bool:
        """Make the next one, if anybody is well whom it may befall. Whether that was so."""
        name, busy = self._next, {fault.target for fault in self.under_way}
        free = [SERVER] if name in OF_SERVER else list(self._stage.hosts)
        free = [target for target in free if target not in busy]
        if not free or (name in OF_HOSTS and len(busy - {SERVER}) >= _AT_A_TIME):
            return False
        self._next, target = self._random.choice(self._bag), self._random.choice(free)
        kind = OF_SERVER.get(name) or OF_HOSTS[name]
        begun_s = time.time()
        fault = Fault(name, target, begun_s, begun_s + self._random.uniform(*kind.seconds))
        self.story.append(fault)
        if name in OF_SERVER:
            OF_SERVER[name].begin(self._stage)
        else:
            self._do(fault, OF_HOSTS[name].begin)
        return True

    def _do(self, fault: Fault, what: Callable[[Host], None]) -> None:
        host = self._stage.hosts[fault.target]
        before = host.misses
        what(host)
        fault.was_in_vain |= host.misses > before

    def relent(self, *, at_once: bool = False) -> None:
        """Undo those whose time is over."""
        for fault in self.under_way:
            if not at_once and time.time() < fault.until_s:
                continue
            if fault.name in OF_SERVER:
                OF_SERVER[fault.name].end(self._stage)
            else:
                self._do(fault, OF_HOSTS[fault.name].end)
            fault.ended_s = time.time()
