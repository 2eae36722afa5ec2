"""Sets up what ``flowd demo`` needs: a scratch workspace, a daemon, and the command line as a subprocess."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from flowd.cli import printing
from flowd.observe.processes import all_processes
from flowd.runners.scaffold import examples_dir
from flowd_client import FlowClient, FlowClientError, create_flow_client

READY_S: Final = 15.0
"""The daemon is ready within a tenth of a second; a machine that is busy with other things takes longer."""

STOP_S: Final = 15.0
CLEAR_S: Final = 3.0
COMMAND_S: Final = 60.0

_FLOWD: Final = (sys.executable, "-P", "-m", "flowd")
"""The installation that this is; -P, because the workspace's folder is nothing to import from."""

TAG: Final = "rust-v1.2.3"

_HISTORY: Final = (
    "commit Start",
    "tag rust-v1.2.2",
    "commit feat: resume a session by its id",
    "commit fix: keep the sandbox when a tool times out",
    "commit chore: bump dependencies",
    "commit docs: explain approval modes",
    f"tag {TAG}",
)


class DemoError(Exception):
    """Something was not as it should be."""


class Stage:
    """A scratch workspace with a daemon in it. Everything it starts, it ends."""

    def __init__(self, folder: Path) -> None:
        """Nothing is made or started yet.

        Args:
            folder: An empty folder of the caller's.
        """
        self.workspace = folder / "project"
        self.published = folder / "published.git"
        self.log = folder / "flowd.log"
        self.environ = _environment(folder)
        self._daemon: subprocess.Popen[bytes] | None = None

    def prepare(self, *, left_out: set[str]) -> None:
        """Make the workspace: a small repository, and the example packages that are not left out."""
        self.workspace.mkdir()
        if "release" not in left_out:
            self._make_repository()
        examples = examples_dir()
        for package in sorted(path for path in (examples / "flows").iterdir() if path.name not in left_out):
            shutil.copytree(package, self.workspace / "flows" / package.name)
        shutil.copytree(examples / "events", self.workspace / "events")
        release = self.workspace / "events" / "release.json"
        text = release.read_text(encoding="utf-8").replace("/path/to/your/repository", str(self.workspace))
        release.write_text(text.replace("v1.1.0", TAG), encoding="utf-8")

    def _make_repository(self) -> None:
        git = ["git", "-c", "user.name=flowd demo", "-c", "user.email=demo@localhost", "-c", "commit.gpgsign=false"]
        self._quietly([*git, "-c", "init.defaultBranch=main", "init", "--quiet"])
        self._quietly(["git", "init", "--quiet", "--bare", str(self.published)])
        self._quietly(["git", "remote", "add", "origin", str(self.published)])
        for name, value in (("user.name", "flowd demo"), ("user.email", "demo@localhost")):
            self._quietly(["git", "config", name, value])
        (self.workspace / "test.sh").write_text("echo '2 tests, both pass'\n", encoding="utf-8")
        self._quietly(["git", "add", "test.sh"])
        for entry in _HISTORY:
            kind, _, text = entry.partition(" ")
            self._quietly(
                [*git, "commit", "--quiet", "--allow-empty", "-m", text] if kind == "commit" else [*git, "tag", text]
            )

    def _quietly(self, argv: list[str]) -> None:
        done = subprocess.run(argv, cwd=self.workspace, env=self.environ, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise DemoError(f"`{shlex.join(argv)}` failed: {done.stderr.strip()}")

    # --- the daemon ---

    @property
    def pid(self) -> int:
        """The daemon's process id."""
        if self._daemon is None:
            raise DemoError("the daemon was not started")
        return self._daemon.pid

    def start(self) -> float:
        """Start the daemon and return the seconds until it answered."""
        started = time.monotonic()
        with open(self.log, "ab") as log:
            self._daemon = subprocess.Popen(
                [*_FLOWD, "serve", "-w", str(self.workspace)],
                cwd=self.workspace,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a Ctrl-C is for the demo, which then ends the daemon in order
            )
        self.wait_for(self._answers, "the daemon did not become ready", timeout_s=READY_S)
        return time.monotonic() - started

    def _answers(self) -> bool:
        if self._daemon is not None and self._daemon.poll() is not None:
            raise DemoError(f"the daemon ended with {self._daemon.returncode} instead of becoming ready")
        try:
            with self.client() as client:
                return client.status().get("pid") == self.pid
        except FlowClientError:
            return False

    def kill(self) -> None:
        """End the daemon the hard way."""
        self._signal(signal.SIGKILL)

    def stop(self) -> int:
        """Ask the daemon to end and return its exit code."""
        return self._signal(signal.SIGTERM)

    def _signal(self, number: signal.Signals) -> int:
        daemon = self._daemon
        if daemon is None:
            raise DemoError("the daemon was not started")
        daemon.send_signal(number)
        try:
            code = daemon.wait(timeout=STOP_S)
        except subprocess.TimeoutExpired as error:
            raise DemoError(f"the daemon was still there {STOP_S:.0f} s after {number.name}") from error
        self._daemon = None
        return code

    def client(self) -> FlowClient:
        """A client of the daemon; the caller closes it."""
        return create_flow_client(workspace=self.workspace)

    # --- the command line ---

    def flowd(self, *arguments: str) -> str:
        """Show a command, run it for real in the workspace, show what it prints, and return that.

        Raises:
            DemoError: It exits with another code than 0.
        """
        printing.line(f"\n$ {shlex.join(['flowd', *arguments])}")
        done = subprocess.run(
            [*_FLOWD, *arguments],
            cwd=self.workspace,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=COMMAND_S,
            check=False,
        )
        printing.line(done.stdout.rstrip())
        if done.returncode != 0:
            raise DemoError(f"`flowd {shlex.join(arguments)}` exited with {done.returncode}")
        return done.stdout

    def wait_for(self, condition: Callable[[], bool], complaint: str, *, timeout_s: float = 10.0) -> None:
        """Wait until something is so.

        Raises:
            DemoError: With the complaint, when it takes longer.
        """
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                raise DemoError(f"{complaint} within {timeout_s:.0f} s")
            time.sleep(0.02)

    # --- the end ---

    def leftovers(self) -> dict[int, str]:
        """Processes that belong to this workspace: what they are, by process id."""
        found = {}
        for process in all_processes():
            command = " ".join(process.command_line)
            folder = process.folder
            is_ours = str(self.workspace) in command or (folder and folder.is_relative_to(self.workspace))
            if process.pid != os.getpid() and is_ours and not process.is_zombie:
                found[process.pid] = command
        return found

    def clear(self) -> None:
        """End whatever is still there, however the demo went."""
        # The first signal lets steps finish, the second cancels them, the third kills them.
        for _ in range(3):
            if self._daemon is not None and self._daemon.poll() is None:
                self._daemon.send_signal(signal.SIGTERM)
                try:
                    self._daemon.wait(timeout=CLEAR_S)
                except subprocess.TimeoutExpired:
                    pass
        if self._daemon is not None:
            self.kill()
        for pid in self.leftovers():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass


def _environment(folder: Path) -> Mapping[str, str]:
    """Ours, without settings that would lead to another daemon."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("FLOWD_", "CODEX_FLOW"))}
    environ["XDG_CONFIG_HOME"] = str(folder / "config")
    # A hook that runs the demo has these set, and git would then work on another repository than the demo's.
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        environ.pop(name, None)
    return environ
