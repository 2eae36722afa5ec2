"""Runs commands of flowd to their end, as copies of `daemon_template` where they may be."""

import contextlib
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from daemon_copy import CopiedProcess, may_copy

BOUND_S = 60.0
_SILENCE = "flowd: The daemon has not answered for 2 s. Waiting for it.\n"
"""What any command says, too, where the machine is busy for so long. Tests that are about it run theirs otherwise."""


def run_flowd(
    *words: str | Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: bytes = b"",
    is_one_stream: bool = False,
) -> subprocess.CompletedProcess[str]:
    """What ``python -m flowd`` with these words exits with, and prints into pipes.

    Args:
        env: The environment, if it is not ours.
        cwd: The folder, if it is not ours.
        stdin: What it reads.
        is_one_stream: ``stdout`` gets what goes to stderr, too.

    Raises:
        subprocess.TimeoutExpired: It still runs after a minute, and was killed.
    """
    environ = os.environ if env is None else env
    arguments = [str(word) for word in words]
    with tempfile.TemporaryFile() as given:
        given.write(stdin)
        given.seek(0)
        if may_copy(environ):
            return _copied(arguments, environ, cwd, given.fileno(), is_one_stream=is_one_stream)
        done = subprocess.run(
            [sys.executable, "-m", "flowd", *arguments],
            env=environ, cwd=cwd, stdin=given, stdout=subprocess.PIPE, text=True, encoding="utf-8", timeout=BOUND_S,
            stderr=subprocess.STDOUT if is_one_stream else subprocess.PIPE,
        )  # fmt: skip
    if is_one_stream:
        done.stdout = without_silence(done.stdout)
    else:
        done.stderr = without_silence(done.stderr)
    return done


def without_silence(said: str) -> str:
    """What a command says, whether or not the machine was too busy for a while for its daemon to answer."""
    return said.replace(_SILENCE, "")


def _copied(
    words: list[str], environ: Mapping[str, str], folder: Path | None, given: int, *, is_one_stream: bool
) -> subprocess.CompletedProcess[str]:
    with contextlib.ExitStack() as ours, contextlib.ExitStack() as its:
        pipes = [os.pipe() for _ in range(1 if is_one_stream else 2)]
        for reading, writing in pipes:
            ours.callback(os.close, reading)
            its.callback(os.close, writing)
        process = CopiedProcess(words, environ, (given, pipes[0][1], pipes[-1][1]), folder=folder)
        its.close()
        deadline_s = time.monotonic() + BOUND_S
        try:
            *out, err = [_text(data) for data in _all_of([reading for reading, _ in pipes], deadline_s)]
            said = [*out, without_silence(err)]
            code = process.wait(max(0.0, deadline_s - time.monotonic()))
        except (TimeoutError, subprocess.TimeoutExpired):
            process.kill()
            process.wait()
            raise subprocess.TimeoutExpired(process.args, BOUND_S) from None
        return subprocess.CompletedProcess(process.args, code, said[0], None if is_one_stream else said[1])


def _text(data: bytes) -> str:
    """As `subprocess` reads it: with one kind of line's end."""
    return data.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")


def _all_of(pipes: list[int], deadline_s: float) -> list[bytes]:
    """What comes through pipes until nobody can write into them any more.

    Raises:
        TimeoutError: Somebody still can.
    """
    said = {pipe: bytearray() for pipe in pipes}
    poller = select.poll()
    for pipe in pipes:
        poller.register(pipe, select.POLLIN)
    left = len(pipes)
    while left:
        ready = poller.poll(max(0.0, deadline_s - time.monotonic()) * 1000)
        if not ready:
            raise TimeoutError
        for pipe, _ in ready:
            if data := os.read(pipe, 1 << 16):
                said[pipe] += data
            else:
                poller.unregister(pipe)
                left -= 1
    return [bytes(said[pipe]) for pipe in pipes]
