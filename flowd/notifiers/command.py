"""Sends a notice to a program, which gets it as JSON on its standard input."""

import asyncio
import json
import shutil
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from flowd.domain.exit import signal_name
from flowd.domain.notices import Sent

_SLACK_S = 10.0
"""So much longer than the program the guard may take, to end what resists."""

_SHOWN_CHARS = 300


class CommandSender:
    """A `flowd.ports.notices.NoticeSender`. The program has no shell around it, and nothing of it outlives a try."""

    def __init__(self, command: Sequence[str], *, folder: Path, environ: Mapping[str, str], timeout_s: float) -> None:
        """It is run in ``folder``, with ``environ`` and nothing else."""
        self._command = tuple(command)
        self._folder = folder
        self._environ = dict(environ)
        self._timeout_s = timeout_s

    @property
    def target(self) -> str:
        """See `flowd.ports.notices.NoticeSender.target`. Arguments may hold secrets."""
        return self._command[0]

    async def send(self, notice_id: str, payload: Mapping[str, Any], *, at_s: int) -> Sent:  # noqa: ARG002
        """See `flowd.ports.notices.NoticeSender.send`."""
        program = find_program(self._command[0], self._folder, self._environ)
        if program is None:
            return Sent(why_no_program(self._command[0], self._folder))
        try:
            told = await self._guarded([program, *self._command[1:]], json.dumps(payload, ensure_ascii=False).encode())
        except OSError as error:
            return Sent(f"no process could be started: {error.strerror or error}")
        return _came(told, self._timeout_s)

    async def _guarded(self, command: Sequence[str], body: bytes) -> Mapping[str, Any]:
        """What the guard tells; nothing where it was lost."""
        with as_file(files("flowd.notifiers") / "guard.py") as script:
            guard = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", str(script), str(self._timeout_s), *command),
                stdin=PIPE,
                stdout=PIPE,
                stderr=DEVNULL,
                cwd=self._folder,
                env=self._environ,
                start_new_session=True,
            )
            try:
                return await self._told(guard, body)
            finally:
                await asyncio.shield(_ended(guard))

    async def _told(self, guard: Process, body: bytes) -> Mapping[str, Any]:
        assert guard.stdin is not None
        assert guard.stdout is not None
        line = b""
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(self._timeout_s + _SLACK_S):
                guard.stdin.write(b"%d\n" % len(body) + body)
                await guard.stdin.drain()
                line = await guard.stdout.readline()
        told: dict[str, Any] = json.loads(line) if line.endswith(b"\n") else {}
        return told


def find_program(name: str, folder: Path, environ: Mapping[str, str]) -> str | None:
    """The path of a program as it would be started; None where there is none."""
    if "/" in name:
        path = str(folder / name)
        return shutil.which(path)
    return shutil.which(name, path=environ.get("PATH"))


def why_no_program(name: str, folder: Path) -> str:
    """What is wrong with a program that `find_program` does not find; the rest of a sentence."""
    if "/" in name and (folder / name).is_file():
        return f"{name} may not be executed: chmod +x {name}"
    return f"there is no program {name}"


async def _ended(guard: Process) -> None:
    """See the guard end: once it has no standard input, it ends the program, and then itself."""
    assert guard.stdin is not None
    guard.stdin.close()
    try:
        async with asyncio.timeout(_SLACK_S):
            await guard.wait()
    except TimeoutError:
        with suppress(ProcessLookupError):
            guard.kill()
        await guard.wait()


def _came(told: Mapping[str, Any], timeout_s: float) -> Sent:
    output = " ".join(str(told.get("output") or "").split())[-_SHOWN_CHARS:]
    said = f": {output}" if output else ""
    if (error := told.get("error")) is not None:
        return Sent(f"the program cannot be started: {error}")
    if told.get("late"):
        return Sent(f"the program took longer than {timeout_s:g} s, and was ended{said}")
    if (number := told.get("signal")) is not None:
        return Sent(f"the program was ended by {signal_name(number)}{said}")
    if "code" not in told:
        return Sent("the process that looks after the program was ended")
    if told["code"] != 0:
        return Sent(f"the program exited with {told['code']}{said}")
    return Sent(answer=output or "the program exited with 0")
