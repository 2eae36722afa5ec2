"""A real keeper in a scratch folder, and steps that are shell scripts."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from flowd.domain.exit import Exit
from flowd.domain.launching import Command, Launch
from flowd.executors.direct.executor import DirectExecutor

T = TypeVar("T")

PATIENCE_S = 60.0
"""How long a test waits for what must happen; only a failing test ever waits so long."""

UNTIL_FILE = "echo $$; while [ ! -e $GO ]; do sleep 0.01; done; echo end; exit "
"""A script that prints its pid and ends, with the code that is put behind it, once the file ``$GO`` is there."""

FALLBACKS = ["", "pidfd_info", "pidfd", "subreaper", "waitid,memfd", "proc", "pidfd,pidfd_info,subreaper,proc,memfd"]
"""What is switched off: nothing, each by itself, and all that macOS lacks."""


def run(test: Coroutine[Any, Any, T]) -> T:
    """Run an async test with a bound."""

    async def bounded() -> T:
        return await asyncio.wait_for(test, 100)

    return asyncio.run(bounded())


async def until(condition: Callable[[], T], what: str) -> T:
    """Wait until the condition is true and return its value."""
    deadline = time.monotonic() + PATIENCE_S
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        await asyncio.sleep(0.01)
    return value


def is_alive(pid: int) -> bool:
    """Whether this process runs: a zombie does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


class Rig:
    """A folder with a keeper."""

    def __init__(self, folder: Path, without: str = "", **options: Any) -> None:
        self.folder = folder
        self.directory = folder / "keeper"
        self._without = frozenset(filter(None, without.split(",")))
        self._options = {"orphan_grace_s": 30.0, **options}
        self._keepers: set[int] = set()
        self.env = {"PATH": os.environ["PATH"], "BASE": "base"}

    async def client(self, **options: Any) -> DirectExecutor:
        """One more daemon."""
        client = DirectExecutor(
            self.directory, base_env=self.env, without=self._without, **{**self._options, **options}
        )
        await client.open()
        assert client.pid is not None
        self._keepers.add(client.pid)
        return client

    def launch(self, name: str, script: str, **options: Any) -> Launch:
        """A shell script as a step."""
        return self.launch_program(name, "/bin/sh", "-c", script, **options)

    def launch_program(self, name: str, *argv: str, **options: Any) -> Launch:
        """A program as a step."""
        command = Command(argv, options.pop("cwd", str(self.folder)), options.pop("env", {}), options.pop("stdin", b""))
        limits = {"timeout_s": 60.0, "grace_s": 5.0, "max_output_bytes": 1 << 20, **options}
        return Launch(name, command, str(self.path(name, "out")), str(self.path(name, "err")), **limits)

    async def run(self, client: DirectExecutor, name: str, script: str, **options: Any) -> Exit:
        """Run a script to its end."""
        await client.start(self.launch(name, script, **options))
        return await client.wait(name)

    def path(self, name: str, stream: str) -> Path:
        """An output file."""
        return self.folder / f"{name}.{stream}"

    def output(self, name: str) -> str:
        """Its standard output."""
        return self.path(name, "out").read_text()

    async def pids(self, name: str, count: int = 1) -> list[int]:
        """The pids that a step has printed, once there are so many."""

        def printed() -> list[int]:
            path = self.path(name, "out")
            words = path.read_text().split() if path.exists() else []
            return [int(word) for word in words] if len(words) >= count else []

        return await until(printed, f"{name} printed {count} pids")

    async def kill_keeper(self, client: DirectExecutor) -> int:
        """kill -9 the keeper and wait until it is gone."""
        pid = client.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await until(lambda: not is_alive(pid), "the keeper is gone")
        return pid

    async def reconnected(self, client: DirectExecutor, old_pid: int) -> None:
        """Wait until the client has a new keeper."""
        pid = await until(lambda: client.pid if client.pid not in (None, old_pid) else None, "there is a new keeper")
        assert pid is not None
        self._keepers.add(pid)

    def end(self) -> None:
        """Kill the keepers that are left, and every step of theirs."""
        for pid in self._keepers:
            if b"flowd.keeper.main" in _cmdline(pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


@contextlib.asynccontextmanager
async def keeper(folder: Path, without: str = "", **options: Any) -> AsyncIterator[tuple[Rig, DirectExecutor]]:
    """A keeper with one client; both end with the block, and so do all steps."""
    rig = Rig(folder, without, **options)
    client = await rig.client()
    try:
        yield rig, client
    finally:
        try:
            await client.close(end_steps=True)
        finally:
            rig.end()


async def all_of(*waits: Awaitable[T]) -> list[T]:
    """The results of many, in order."""
    return list(await asyncio.gather(*waits))


def _cmdline(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""
