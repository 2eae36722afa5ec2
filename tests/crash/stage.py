"""The workspace in which flowd is killed: the daemon with crash points, its keeper, and how to arm and kill both."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
from crash import kinds
from daemon_rig import Workspace

from flowd_client.errors import FlowClientError

_DAEMON = Path(__file__).with_name("crashing_daemon.py")
_PID = re.compile(r"pid (\d+) can")


class Stage(Workspace):
    """A workspace whose daemon and keeper die on demand. Its ledger is written by the steps themselves."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.arming = path / "armed"
        self.arming.mkdir()
        self.ledger = path / "ledger"
        self.state = path / ".codex" / "flowd"
        kinds.write_packages(path, self.ledger)
        self._armings = 0

    def spawn(self) -> None:
        """Start the daemon and return at once."""
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(_DAEMON), str(self.arming), "serve", "-w", str(self.path)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "FLOWD_MAX_PARALLEL": "8", "PYTHONDONTWRITEBYTECODE": "1"},
            )

    def comes_up(self, *, bound_s: float = 30.0) -> bool:
        """Wait until the daemon answers; False when it was killed before.

        Raises:
            AssertionError: It ended by itself or does not answer.
        """
        assert self.process is not None
        deadline = time.monotonic() + bound_s
        while True:
            code = self.process.poll()
            if code == -signal.SIGKILL:
                return False
            assert code is None, f"the daemon ended by itself with {code}: {self.log()[-3000:]}"
            assert time.monotonic() < deadline, f"the daemon did not get ready: {self.log()[-3000:]}"
            with contextlib.suppress(FlowClientError), self.client(timeout_s=5) as client:
                client.status()
                return True
            time.sleep(0.01)

    @property
    def is_up(self) -> bool:
        """Whether the daemon's process lives."""
        return self.process is not None and self.process.poll() is None

    def arm(self, victim: str, point: str, nth: int = 1) -> None:
        """Let the victim (``daemon`` or ``keeper``) die the ``nth`` time it passes a point."""
        self._armings += 1
        file = self.arming / victim
        temporary = self.arming / f"{victim}.new"
        temporary.write_text(f"{point}#{nth} {self._armings}", encoding="ascii")
        temporary.rename(file)

    def is_armed(self, victim: str) -> bool:
        """Whether it has not died yet."""
        return (self.arming / victim).exists()

    def disarm(self, victim: str) -> bool:
        """Take the arming back; False when it has died of it."""
        try:
            (self.arming / victim).unlink()
        except FileNotFoundError:
            return False
        return True

    def living_keeper(self) -> int | None:
        """The keeper's pid, as its log tells; None when there is none."""
        log = self.state / "keeper" / "keeper.log"
        pids = _PID.findall(log.read_text(encoding="utf-8", errors="replace")) if log.exists() else []
        with contextlib.suppress(psutil.Error):
            if pids and str(self.state) in " ".join(psutil.Process(int(pids[-1])).cmdline()):
                return int(pids[-1])
        return None

    def kill_keeper(self) -> bool:
        """``kill -9`` the keeper, if one lives."""
        pid = self.living_keeper()
        if pid is None:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        return True
