"""A real daemon in a scratch workspace, for tests that look at it from outside."""

import contextlib
import errno
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import postgres_rig
import psutil
import pytest
from command_copy import run_flowd
from daemon_copy import CopiedProcess, may_copy

from flowd_client import create_flow_client
from flowd_client.client import FlowClient

START_BOUND_S = 60.0


def until(condition: Callable[[], Any], *, bound_s: float = 60.0, what: str = "the condition") -> Any:
    """The condition's first true value, or a failure after the bound.

    Looks at most half of the time, and the less often the longer it has waited: a condition that starts a program, or
    has a daemon answer, would keep what it waits for from going on.
    """
    began_s = time.monotonic()
    while True:
        looked_s = time.monotonic()
        value = condition()
        if value:
            return value
        now_s = time.monotonic()
        waited_s = now_s - began_s
        assert waited_s < bound_s, f"{what} did not come true within {bound_s} s"
        time.sleep(min(0.25, max(0.02, now_s - looked_s, waited_s / 20)))


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it, although somebody may be writing there meanwhile."""
    if not path.is_dir():
        path.unlink()
    while path.is_dir():
        try:
            shutil.rmtree(path)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.ENOENT):
                raise
        else:
            return


class Workspace:
    """A folder with flow packages, and a daemon that can be started and killed in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = path / ".codex" / "flowd" / "flowd.sock"
        self.log_path = path / "daemon.log"
        self.process: subprocess.Popen[bytes] | CopiedProcess | None = None
        self.store = postgres_rig.workspace_store() if os.environ.get("TEST_STORE") == "postgres" else None
        """Where the daemon keeps its store, if that is not in its state folder: see ``make test-postgres``."""

    @property
    def store_variables(self) -> dict[str, str]:
        """What says so to the daemon, and to commands that do without one."""
        return {} if self.store is None else {"FLOWD_STORE": self.store}

    def flow(
        self, name: str, script: str, *, step: str = "", top: str = "", runner: str = "exec", trigger: str = ""
    ) -> Path:
        """Add a package with one step ``main`` that waits for ``<name>.go`` (or ``trigger``)."""
        folder = self.path / "flows" / name
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / {"exec": "main.sh", "python": "main.py", "bun": "main.ts", "node": "main.mjs"}[runner]
        self.save(file, f"#!/bin/sh\n{script}\n" if runner == "exec" else script, mode=0o755)
        self.save(
            folder / "flow.toml",
            f'name = "{name}"\nversion = 1\n{top}\n[[steps]]\nname = "main"\nrunner = "{runner}"\n'
            f'script = "{file.name}"\n{step}\n[steps.trigger]\ntype = "{trigger or name + ".go"}"\n',
        )
        return folder

    def save(self, file: Path, text: str, *, mode: int = 0o644) -> None:
        """Write a file in one step: a daemon that looks at any moment finds what was there or all of this, not half."""
        new = self.path.with_name(f".{self.path.name}.new")
        new.write_text(text, encoding="utf-8")
        new.chmod(mode)
        new.replace(file)

    def start(self, *, bound_s: float = START_BOUND_S, prefix: Sequence[str] = (), **environment: str) -> None:
        """Start the daemon, by the words of ``prefix`` where there are any, and wait until it answers."""
        words = ["serve", "-w", str(self.path)]
        environ = {**os.environ, **self.store_variables, **environment}
        with self.log_path.open("ab") as log, Path(os.devnull).open("rb") as nothing:
            if not prefix and may_copy(environ):
                self.process = CopiedProcess(words, environ, (nothing.fileno(), log.fileno(), log.fileno()))
            else:
                argv = [*prefix, sys.executable, "-m", "flowd", *words]
                self.process = subprocess.Popen(argv, stdin=nothing, stdout=log, stderr=log, env=environ)
        deadline = time.monotonic() + bound_s
        while True:
            assert self.process.poll() is None, f"the daemon ended: {self.log()}"
            assert time.monotonic() < deadline, f"the daemon did not get ready: {self.log()}"
            if self.is_ready():
                return
            time.sleep(0.02)

    def is_ready(self) -> bool:
        """Whether the daemon answers: its socket is there a moment before it listens."""
        with contextlib.suppress(Exception), self.client(timeout_s=5) as client:
            client.status()
            return True
        return False

    def kill(self) -> None:
        """``kill -9`` the daemon alone."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self, *, bound_s: float = 30.0) -> int:
        """SIGTERM, and the exit code."""
        assert self.process is not None
        self.process.terminate()
        if code := self.process.wait(bound_s):
            print(self.log()[-5000:])  # shown where the test fails for it
        return code

    def client(self, *, timeout_s: float = 60.0) -> FlowClient:
        """A client of this daemon."""
        return create_flow_client(mode="socket", workspace=self.path, timeout_s=timeout_s)

    def call(self, method: str, **params: Any) -> Any:
        """One call of the raw API."""
        with self.client() as client:
            return client.call(method, params)

    def log(self) -> str:
        """What the daemon wrote so far."""
        return self.log_path.read_text(encoding="utf-8") if self.log_path.exists() else ""

    def processes(self, needle: str) -> list[psutil.Process]:
        """Processes whose command line has this text, ourselves left out."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if needle in " ".join(process.cmdline()) and process.pid != os.getpid():
                    found.append(process)
        return found

    def keeper_pid(self) -> int:
        """The keeper's process."""
        return int(self.call("daemon.status")["keeper"]["pid"])

    @contextlib.contextmanager
    def database(self) -> Iterator[Any]:
        """The daemon's database, to look at and change what no interface tells or does. Changes are kept at the end."""
        if self.store is None:
            with contextlib.closing(sqlite3.connect(self.path / ".codex/flowd/flowd.db", timeout=10)) as db, db:
                yield db
        else:
            with postgres_rig.writing(self.store) as db:
                yield db

    def clean_up(self) -> None:
        """End the daemon, the keeper and every step, whatever state they are in."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for process in self.processes(str(self.path)):
            with contextlib.suppress(psutil.Error):
                process.send_signal(signal.SIGKILL)
        state = str(self.path / ".codex" / "flowd")
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if any(value.startswith(state) for value in (process.environ().get("FLOWD_SOCKET", ""),)):
                    process.send_signal(signal.SIGKILL)


@contextlib.contextmanager
def workspace() -> Iterator[Workspace]:
    """A scratch workspace; everything in it is ended and removed at the end."""
    with tempfile.TemporaryDirectory(prefix="flowd-test-", ignore_cleanup_errors=True) as folder:
        place = Workspace(Path(folder))
        made = place.store
        try:
            yield place
        finally:
            place.clean_up()
            if made is not None:
                postgres_rig.drop(made)


about_the_file = pytest.mark.skipif(
    os.environ.get("TEST_STORE") == "postgres", reason="NOT TESTED with PostgreSQL: it is about SQLite's file"
)

without_leases = pytest.mark.skipif(
    os.environ.get("TEST_STORE") == "postgres",
    reason="NOT TESTED with PostgreSQL: a keeper without a daemon goes by its leases there, see test_keeper_lease.py",
)
by_test_postgres = pytest.mark.skipif(
    os.environ.get("TEST_STORE") != "postgres", reason="NOT TESTED here, as it takes long: `make test-postgres` does"
)


def say(status: str, **more: Any) -> str:
    """A shell line that prints a FLOW_RESULT."""
    return f"echo 'FLOW_RESULT {json.dumps({'status': status, **more})}'"


def flowd(place: Workspace, *words: str) -> subprocess.CompletedProcess[str]:
    """The command line, told of the workspace by nothing but ``-w``."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("FLOWD_")}
    return run_flowd(*words, "-w", place.path, env=environ | place.store_variables)


def flowd_says(place: Workspace, *words: str, code: int = 0) -> str:
    """What the command line prints on both streams, once it has exited with ``code``."""
    done = flowd(place, *words)
    assert done.returncode == code, (done.stdout, done.stderr)
    return done.stdout + done.stderr
