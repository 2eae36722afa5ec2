"""A command line, and a daemon whose answers the test writes."""

import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

from command_copy import run_flowd
from scripted_daemon import Call, RefusalError, ScriptedDaemon

FLOWD = [sys.executable, "-m", "flowd"]


def run_of(status: str = "completed", **members: Any) -> dict[str, Any]:
    return {
        "id": "run_0123456789ab",
        "eventId": "e1",
        "flowName": "release",
        "stepName": "publish",
        "status": status,
        "processStatus": status,
        "attemptCount": 1,
        "createdAt": "2026-01-02T03:04:05.678Z",
        "startedAt": "2026-01-02T03:04:05.678Z",
        "durationMs": 1500,
        **members,
    }


def accepted(*runs: dict[str, Any]) -> dict[str, Any]:
    ids = [run["id"] for run in runs]
    return {"status": "accepted", "eventId": "e1", "runIds": ids, "matched": len(ids), "runs": list(runs)}


class Desk:
    """A daemon with a table of answers, and a command line that talks to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.answers: dict[str, Any] = {}
        self.daemon = ScriptedDaemon(folder / "d.sock", self.answer)
        names = ("FLOWD_SOCKET", "FLOWD_WORKSPACE", "FLOWD_STATE_DIR", "FLOWD_RUN_ID", "NO_COLOR")
        self.env = {name: value for name, value in os.environ.items() if name not in names}
        self.env["FLOWD_SOCKET"] = str(self.daemon.path)

    def answer(self, call: Call) -> Any:
        answer = self.answers.get(call.method, RefusalError(-32601, "method_not_found"))
        if isinstance(answer, Exception):
            raise answer
        return answer(call) if callable(answer) else answer

    def start(self, *args: str, **options: Any) -> subprocess.Popen[bytes]:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen([*FLOWD, *args], env=self.env, cwd=self.folder, **{**pipes, **options})

    def flowd(self, *args: str, stdin: bytes = b"") -> tuple[int, str, str]:
        done = run_flowd(*args, env=self.env, cwd=self.folder, stdin=stdin)
        return done.returncode, done.stdout, done.stderr


def on_terminal(desk: Desk, *args: str, columns: int = 60) -> tuple[int, str]:
    master, slave = pty.openpty()
    env = {**desk.env, "COLUMNS": str(columns), "TERM": "xterm-256color"}
    process = subprocess.Popen([*FLOWD, *args], env=env, cwd=desk.folder, stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    out = b""
    while True:
        try:
            chunk = os.read(master, 65536)
        except OSError:  # Linux ends a terminal without a writer with EIO
            break
        if not chunk:
            break
        out += chunk
    os.close(master)
    return process.wait(timeout=30), out.decode()
