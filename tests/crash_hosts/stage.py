"""Three hosts of one store, each with its own checkout, state folder and link, and the server that they share."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
from crash_hosts import kinds
from crash_hosts.link import Link
from daemon_rig import Workspace
from postgres_rig import Server

NAMES = ("anna", "bert", kinds.FAR)
_DAEMON = Path(__file__).parents[1] / "crash" / "crashing_daemon.py"
_RESTART_AFTER_S = 0.5
"""A daemon that ended by itself, as one does that finds no database at its start: a service manager restarts it."""

_SIGNS = ('"exception": ', "Traceback (most recent call last)")


class Host(Workspace):
    """A host. `tend` has to be called again and again: it is its service manager.

    Attributes:
        is_wanted: Whether its daemon is to run.
        chance: For what befalls it.
        misses: Points that were armed, and not passed in time, and signals to a daemon or a keeper that was not there.
    """

    def __init__(self, path: Path, name: str, link: Link, database: str, notes: Path, seed: int) -> None:
        path.mkdir()
        super().__init__(path)
        self.name, self.link = name, link
        self.state = path / ".codex" / "flowd"
        self.is_wanted = True
        self.chance = random.Random(f"{name} {seed}")
        self._arming = path / "armed"
        self._arming.mkdir()
        self._armings = self.misses = 0
        self.ends: list[int] = []
        self._address = f"postgresql://postgres@127.0.0.1:{link.port}/{database}?sslmode=disable"
        self._ended_s = 0.0
        self._frozen: list[psutil.Process] = []
        kinds.write_packages(path, name, notes)

    def tend(self) -> None:
        """Start the daemon where it should run and does not."""
        now_s = time.monotonic()
        if self.process is not None and (code := self.process.poll()) is not None:
            self.ends.append(code)
            self.process, self._ended_s = None, now_s
        if self.process is None and self.is_wanted and now_s - self._ended_s >= _RESTART_AFTER_S:
            environ = {**os.environ, "FLOWD_STORE": self._address, "FLOWD_HOST": self.name, "FLOWD_MAX_PARALLEL": "4"}
            with self.log_path.open("ab") as log:
                self.process = subprocess.Popen(
                    [sys.executable, str(_DAEMON), str(self._arming), "serve", "-w", str(self.path)],
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environ,
                )  # fmt: skip

    def keeper(self) -> psutil.Process | None:
        """The keeper, where one lives."""
        found = [one for one in self._ours() if "keeper" in " ".join(_command(one)) and not _is_standby(one)]
        return found[0] if found else None

    def signal_daemon(self, what: int) -> None:
        """Signal the daemon, if one lives."""
        if self.process is not None and self.process.poll() is None:
            os.kill(self.process.pid, what)
        elif what != signal.SIGCONT:
            self.misses += 1

    def signal_keeper(self, what: int) -> None:
        """Signal the keeper, if one lives."""
        if (keeper := self.keeper()) is not None:
            _send(keeper, what)
        elif what != signal.SIGCONT:
            self.misses += 1

    def arm(self, victim: str, point: str, *, stop: bool = False) -> None:
        """Let ``daemon`` or ``keeper`` die, or stand still, soon when it passes a point."""
        self._armings += 1
        new = self._arming / f"{victim}.new"
        how = " stop" if stop else ""
        new.write_text(f"{point}#{self.chance.randint(1, 2)} {self._armings}{how}", encoding="ascii")
        new.rename(self._arming / victim)

    def disarm(self) -> None:
        """Take back what was not passed."""
        for victim in ("daemon", "keeper"):
            with contextlib.suppress(FileNotFoundError):
                (self._arming / victim).unlink()
                self.misses += 1

    def freeze(self) -> None:
        """Stop all that runs on this host, in no order, as a hypervisor does."""
        for _ in range(2):  # who was started meanwhile
            self._frozen = self._all()
            for process in self._frozen:
                _send(process, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        for process in self._frozen:
            _send(process, signal.SIGCONT)
        self._frozen = []

    def die(self) -> None:
        """End all that runs on this host, as a power failure does."""
        for _ in range(3):
            for process in self._all():
                _send(process, signal.SIGKILL)

    def steps(self) -> list[psutil.Process]:
        """Whatever a run of this host has started and lives."""
        suffix = f"@{hashlib.sha256(os.fsencode(self.state / 'keeper')).hexdigest()[:12]}"
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if suffix in process.environ().get("FLOWD_MARK", ""):
                    found.append(process)
        return found

    def logs(self) -> str:
        """What the daemon wrote so far, and then the keeper."""
        keeper = self.state / "keeper" / "keeper.log"
        return self.log() + (keeper.read_text(encoding="utf-8") if keeper.exists() else "")

    def errors(self) -> list[str]:
        """What both wrote of errors that nobody has thought of."""
        return [line for line in self.logs().splitlines() if any(sign in line for sign in _SIGNS)]

    def _all(self) -> list[psutil.Process]:
        daemon = []
        if self.process is not None:
            with contextlib.suppress(psutil.Error):
                daemon = [psutil.Process(self.process.pid)]
        return [*daemon, *self._ours(), *self.steps()]

    def _ours(self) -> list[psutil.Process]:
        return [one for one in psutil.process_iter() if str(self.state) in " ".join(_command(one))]


class Stage:
    """The hosts and the server."""

    def __init__(self, folder: Path, server: Server, database: str, seed: int) -> None:
        self.server, self.database = server, database
        server.make_database(database)
        self.notes = folder / "notes"
        self.notes.mkdir()
        self.hosts = {
            name: Host(folder / name, name, Link(server.folder / ".s.PGSQL.5432"), database, self.notes, seed)
            for name in NAMES
        }

    def tend(self) -> None:
        """Be the service manager of all."""
        for host in self.hosts.values():
            host.tend()

    def await_all(self, *, bound_s: float = 240.0) -> None:
        """Wait until every daemon answers."""
        deadline = time.monotonic() + bound_s
        for host in self.hosts.values():
            while not host.is_ready():
                self.tend()
                assert time.monotonic() < deadline, f"{host.name} does not come back: {host.ends}\n{host.log()[-3000:]}"
                time.sleep(0.05)

    def ask(self, statement: str) -> list[tuple[object, ...]]:
        """Rows of the database, past all hosts."""
        return self.server.execute("SET search_path = flowd", statement, database=self.database)

    def output(self, run_id: str, host: str) -> dict[str, Any]:
        """What a host has of what a run has written to stdout."""
        return dict(self.hosts[host].call("flow.readOutput", runId=run_id))

    def clean_up(self) -> None:
        """End everything, whatever state it is in."""
        for host in self.hosts.values():
            host.is_wanted = False
            host.die()
            host.clean_up()
            host.link.close()


def _command(process: psutil.Process) -> list[str]:
    with contextlib.suppress(psutil.Error):
        return process.cmdline()
    return []


def _is_standby(process: psutil.Process) -> bool:
    return "".join(_command(process)[:1]).startswith("flowd-standby")


def _send(process: psutil.Process, what: int) -> None:
    with contextlib.suppress(psutil.Error):
        process.send_signal(what)
