"""Both executors behind one rig, each with real processes: a keeper of this process, or a systemd of its own.

The executor ``systemd`` must live where its systemd does. So its tests run twice: in the box of `systemd_rig`, all of
them by one pytest, and out here, where each reports what came of it in there.
"""

import contextlib
import fcntl
import json
import os
import sys
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import pytest
import systemd_rig
from daemon_rig import until as until_sync
from keeper_rig import run, until
from systemd_rig import CHECKOUT, UID, USER, Box

from flowd.domain.exit import Exit
from flowd.domain.ids import run_id
from flowd.domain.launching import Command, Launch
from flowd.executors.direct.executor import DirectExecutor
from flowd.executors.systemd.executor import SystemdExecutor
from flowd.keeper.capabilities import boot_id
from flowd.ports import Keeper

UNTIL_GO = "while ! test -e go; do sleep 0.01; done; "
"""A script's beginning that waits for the file ``go`` in its directory."""
_LONG = pytest.mark.timeout(800)  # the first of them waits for all that run in the box
KINDS = ("direct", pytest.param("systemd", marks=_LONG), pytest.param("systemd-user", marks=_LONG))
_INSIDE = "FLOWD_TESTS_IN_A_BOX"
_numbers = count(1)


class Executor(Keeper, Protocol):
    """What both executors are beside a `Keeper`."""

    async def open(self) -> None: ...

    async def close(self, *, end_steps: bool) -> None: ...


class ExecutorRig:
    """One executor's folder, and the steps that it runs, which are shell scripts."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self.folder = folder
        self.directory = folder / "keeper"
        self._opened: list[Executor] = []

    async def open(self) -> Executor:
        """One more daemon's executor. Close the one before it."""
        base_env = {"PATH": os.environ["PATH"], "BASE": "base"}
        executor: Executor
        if self.kind == "direct":
            executor = DirectExecutor(self.directory, base_env=base_env, orphan_grace_s=30.0)
        else:
            scope = "user" if self.kind == "systemd-user" else "system"
            executor = SystemdExecutor(self.directory, base_env=base_env, scope=scope, boot_id=boot_id())
        await executor.open()
        self._opened.append(executor)
        return executor

    def launch(self, script: str, **options: Any) -> Launch:
        """A shell script as a step that was never started before."""
        return self.launch_program("/bin/sh", "-c", script, **options)

    def launch_program(self, *argv: str, **options: Any) -> Launch:
        """A program as a step that was never started before."""
        attempt_id = run_id(str(self.folder), "flow", str(next(_numbers)))
        command = Command(argv, options.pop("cwd", str(self.folder)), options.pop("env", {}), options.pop("stdin", b""))
        paths = [str(self.folder / f"{attempt_id}.{stream}") for stream in ("out", "err")]
        limits = {"timeout_s": 60.0, "grace_s": 5.0, "max_output_bytes": 1 << 20, **options}
        return Launch(attempt_id, command, *paths, **limits)

    def run(self, test: Callable[[Executor], Awaitable[None]]) -> None:
        """Run a test with an executor; what it and its successors still run is ended then."""

        async def bounded() -> None:
            async with self._executor() as executor:
                await test(executor)

        run(bounded())

    @contextlib.asynccontextmanager
    async def _executor(self) -> AsyncIterator[Executor]:
        self.directory.mkdir(mode=0o700, exist_ok=True)
        first = await self.open()
        try:
            yield first
        finally:
            for executor in self._opened[:-1]:
                await executor.close(end_steps=False)
            await self._opened[-1].close(end_steps=True)


def said(launch: Launch) -> str:
    """What a step has printed."""
    return Path(launch.stdout_path).read_text()


async def ended(executor: Executor, launch: Launch) -> Exit:
    """Run a step to its end."""
    await executor.start(launch)
    return await executor.wait(launch.attempt_id)


async def numbers(launch: Launch, how_many: int = 1) -> list[int]:
    """What a step has printed, once there is so much."""

    def printed() -> list[int]:
        words = said(launch).split()
        return [int(word) for word in words] if len(words) >= how_many else []

    return await until(printed, f"the step printed {how_many} numbers")


class BoxedRig(ExecutorRig):
    """The same test has run in the box: this one ends as that one did."""

    def __init__(self, outcome: tuple[str, str]) -> None:
        self._outcome = outcome

    def run(self, test: Callable[[Executor], Awaitable[None]]) -> None:
        """Skip or fail as in the box."""
        kind, text = self._outcome
        if kind == "skipped":
            pytest.skip(text)
        assert kind == "passed", text


@pytest.fixture(params=KINDS)
def executor_rig(request: pytest.FixtureRequest, tmp_path: Path) -> ExecutorRig:
    """An executor with nothing to do yet."""
    if request.param == "direct" or os.environ.get(_INSIDE):
        return ExecutorRig(request.param, tmp_path)
    outcomes = request.getfixturevalue("outcomes_in_box")
    return BoxedRig(outcomes[request.node.name])


@pytest.fixture(scope="session")
def outcomes_in_box(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[str, str]]:
    """By its name, what came of each test that asks for systemd, in a box: one for all processes of these tests."""
    if reason := systemd_rig.why_not():
        pytest.skip(f"NOT TESTED under systemd: {reason}")
    wanted = [item.nodeid for item in request.session.items if "[systemd" in item.name]
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return _outcomes(wanted)
    found = tmp_path_factory.getbasetemp().with_name("outcomes-in-box.json")  # beside the folders of all the processes
    with found.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not found.exists():
            found.write_text(json.dumps(_outcomes(wanted)))
        return {name: (kind, text) for name, (kind, text) in json.loads(found.read_text()).items()}


def _outcomes(wanted: list[str]) -> dict[str, tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    with systemd_rig.booted() as box, ThreadPoolExecutor() as both:
        box.run("loginctl", "enable-linger", USER)
        until_sync(box.at(f"/run/user/{UID}/bus").is_socket, what="the user's bus")
        users = [name for name in wanted if "[systemd-user" in name]
        systems = [name for name in wanted if name not in users]
        for outcomes in both.map(lambda its: _run_in(box, *its), ((systems, None), (users, USER))):
            found |= outcomes
    return found


def _run_in(box: Box, names: list[str], user: str | None) -> dict[str, tuple[str, str]]:
    if not names:
        return {}
    report = f"/tmp/executors-{user}.xml"
    paths = [str(CHECKOUT / name) for name in names]
    options = ["-q", "-p", "no:cacheprovider", f"--rootdir={CHECKOUT}", f"--config-file={CHECKOUT}/pyproject.toml"]
    environ = {_INSIDE: "1", "PYTHONDONTWRITEBYTECODE": "1", "PATH": os.environ["PATH"]}
    argv = [sys.executable, "-m", "pytest", *options, f"--junitxml={report}", *paths]
    done = box.run(*argv, user=user, check=False, bound_s=400.0, **environ)
    text = box.read(report)
    assert text, f"no tests have run in the box: {done.stdout}{done.stderr}"
    return {case.attrib["name"]: _outcome(case) for case in ET.fromstring(text).iter("testcase")}


def _outcome(case: ET.Element) -> tuple[str, str]:
    for child in case:
        if child.tag in ("skipped", "failure", "error"):
            return child.tag, child.attrib.get("message", "") + "\n" + (child.text or "")
    return "passed", ""
