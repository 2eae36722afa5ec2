"""What the runner tests share: packages on disk, and the produced command run for real."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from flowd.domain import result
from flowd.domain.definition import Definition
from flowd.domain.launching import Command, StepContext
from flowd.runners.commands import StepRunners

CHECKOUT = Path(__file__).resolve().parents[1]


def interpreter(runner: str) -> str:
    """The real bun or node, or a skip that says how to get it."""
    path = f"{CHECKOUT / '.tools/node_modules/.bin'}:{os.environ['PATH']}"
    found = sys.executable if runner == "python" else shutil.which(runner, path=path)
    if found is None:
        pytest.skip(
            f"NOT TESTED: {runner} is not here; `make bun` installs Bun, and Node 20 or newer has to be on PATH"
        )
    return found


@dataclass
class Done:
    """How a command ended."""

    code: int
    stdout: bytes
    stderr: str

    @property
    def said(self) -> dict[str, Any]:
        """The FLOW_RESULT as flowd reads it."""
        found = result.find(lambda at, count: self.stdout[at : at + count], len(self.stdout))
        assert isinstance(found, result.FlowResult), (found, self.stdout[-2000:], self.stderr)
        return dict(found.value)


def plain_environ() -> dict[str, str]:
    """Ours, without what would change how Python behaves in the steps."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


@dataclass
class Rig:
    """A workspace with one package in it."""

    workspace: Path
    environ: dict[str, str] = field(default_factory=plain_environ)
    interpreters: dict[str, str] = field(default_factory=dict)
    socket_path: str | None = None

    @property
    def root(self) -> Path:
        return self.workspace / "flows" / "demo"

    def write(self, path: str, text: str, *, mode: int | None = None) -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        if mode is not None:
            file.chmod(mode)
        return file

    def runners(self) -> StepRunners:
        return StepRunners(
            workspace=self.workspace,
            socket_path=self.socket_path,
            environ=self.environ,
            interpreters=self.interpreters,
        )

    def definition(self, runner: str, script: str, **members: Any) -> Definition:
        return Definition(
            flow_name="demo",
            flow_version=1,
            flow_root=str(self.root),
            package_hash="sha256:0",
            step_name="s",
            runner=runner,
            script=script,
            timeout_ms=1000,
            grace_ms=1000,
            **members,
        )

    def command(self, runner: str, script: str, *, context: StepContext | None = None, **members: Any) -> Command:
        definition = self.definition(runner, script, **members)
        return asyncio.run(self.runners().command(definition, context or step_context()))


def step_context(**members: Any) -> StepContext:
    event = members.pop("event", {"id": "e1", "type": "demo.hello", "payload": {"name": "world"}})
    values: dict[str, Any] = {
        "event_id": "e1",
        "event_json": json.dumps(event).encode(),
        "run_id": "run_1",
        "attempt_id": "run_1",
        "attempt_number": 1,
        "is_replay": False,
    }
    return StepContext(**{**values, **members})


def run(command: Command, environ: Mapping[str, str], folder: Path) -> Done:
    """Start a command as the keeper does: files for all three streams, opened for appending.

    A timer or a promise that holds it up (those in the tests' steps last 60 s) is a failure.
    """
    stdin, stdout, stderr = (folder / name for name in ("stdin", "stdout", "stderr"))
    stdin.write_bytes(command.stdin)
    stdout.unlink(missing_ok=True)
    stderr.unlink(missing_ok=True)
    with open(stdin, "rb") as reader, open(stdout, "ab") as out, open(stderr, "ab") as err:
        done = subprocess.run(
            command.argv,
            cwd=command.cwd,
            env={**environ, **command.env},
            stdin=reader,
            stdout=out,
            stderr=err,
            start_new_session=True,
            timeout=30,
        )
    return Done(done.returncode, stdout.read_bytes(), stderr.read_text(encoding="utf-8", errors="replace"))
