"""Runs the command line on a terminal of its own."""

import contextlib
import os
import pty
import subprocess
import sys
from pathlib import Path

from daemon_rig import START_BOUND_S


def on_terminal(*words: str | Path, cwd: Path, said: bytearray | None = None, **environment: str) -> str:
    """What a command writes to a terminal, stdout and stderr; meanwhile it is added to ``said``."""
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "flowd", *map(str, words)]
    process = subprocess.Popen(
        command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=slave, stderr=slave, env={**os.environ, **environment}
    )
    os.close(slave)
    said = bytearray() if said is None else said
    with contextlib.suppress(OSError):  # that is how a terminal's end is told
        while data := os.read(master, 65536):
            said += data
    os.close(master)
    process.wait(START_BOUND_S)
    return said.decode("utf-8", "surrogateescape")
