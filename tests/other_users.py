"""Real other users, for tests that run as root: flowd as one of them, files of another, clones by git."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ALICE = 61001
MALLORY = 61002
"""Users without a name, like those of containers; their files are real."""

PYTHONPATH = os.pathsep.join(path for path in sys.path if path)


def _python() -> str | None:
    """A Python of our version that every user may run: ours may lie in root's home."""
    for python in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}", "/usr/bin/python3"):
        try:
            done = subprocess.run(
                [python, "-c", "import flowd.cli.main, msgspec"],
                user=ALICE,
                group=ALICE,
                extra_groups=[],
                cwd="/",
                env={"PYTHONPATH": PYTHONPATH},
                capture_output=True,
                timeout=60,
            )
        except OSError:
            continue
        if done.returncode == 0:
            return python
    return None


PYTHON = (_python() if os.geteuid() == 0 else None) or sys.executable

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as several users")

_OURS = ("FLOWD_", "CODEX_FLOW_", "XDG_", "SUDO_")


def run_as(
    uid: int, *words: str | Path, cwd: str | Path = "/", home: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run ``flowd`` as a user, and nobody's settings but those that are given."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    return subprocess.run(
        [PYTHON, "-m", "flowd", *map(str, words)],
        user=uid,
        group=uid,
        extra_groups=[],
        cwd=cwd,
        env={**environ, "PYTHONPATH": PYTHONPATH, "HOME": str(home or "/nonexistent"), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


def give(path: Path, uid: int) -> Path:
    """Make a file or folder, with all in it, a user's own."""
    for each in (path, *path.rglob("*")):
        os.chown(each, uid, uid, follow_symlinks=False)
    return path


def write(path: Path, text: str, *, mode: int = 0o644) -> Path:
    """Write a file, with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


def package(workspace: Path, name: str, script: str = "true") -> Path:
    """Write a package with one ``exec`` step that waits for ``<name>.go``."""
    folder = workspace / "flows" / name
    result = json.dumps({"status": "changed"})
    write(folder / "main.sh", f"#!/bin/sh\n{script}\necho 'FLOW_RESULT {result}'\n", mode=0o755)
    write(
        folder / "flow.toml",
        f'name = "{name}"\nversion = 1\n[[steps]]\nname = "main"\nrunner = "exec"\nscript = "main.sh"\n'
        f'[steps.trigger]\ntype = "{name}.go"\n',
    )
    return folder


def event_file(path: Path, **event: Any) -> Path:
    """Write an event that everybody can read."""
    return write(path, json.dumps({"payload": {}, **event}))
