"""Commands that go on while a test does."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from command_copy import run_flowd, without_silence
from daemon_rig import Workspace


class Command:
    """A `flowd` that goes on until it is done or told to stop."""

    def __init__(self, place: Workspace, tmp_path: Path, *args: str) -> None:
        self.out_path, self.err_path = tmp_path / f"{args[0]}{id(self)}.out", tmp_path / f"{args[0]}{id(self)}.err"
        with self.out_path.open("wb") as out, self.err_path.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "flowd", *args, "-w", str(place.path)], stdout=out, stderr=err
            )

    @property
    def out(self) -> list[str]:
        return self.out_path.read_text().splitlines()

    @property
    def err(self) -> list[str]:
        return without_silence(self.err_path.read_text()).splitlines()


@contextlib.contextmanager
def command(place: Workspace, tmp_path: Path, *args: str) -> Iterator[Command]:
    running = Command(place, tmp_path, *args)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.wait()


def completed(place: Workspace, *words: str) -> list[str]:
    """What bash is offered for the last word."""
    line = ["flowd", "-w", str(place.path), *words]
    environ = {
        **os.environ,
        "_FLOWD_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(line),
        "COMP_CWORD": str(len(line) - 1),
    }
    done = run_flowd(env=environ)
    assert (done.returncode, done.stderr) == (0, "")
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]
