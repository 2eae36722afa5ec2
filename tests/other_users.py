"""Real other users, for tests that run as root: flowd as one of them, files of another, clones by git."""

import atexit
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

import pytest

ALICE = 61001
MALLORY = 61002
"""Users without a name, like those of containers; their files are real."""

_PYTHONS = (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}", "/usr/bin/python3")
"""Ours may lie in root's home."""


def _found() -> tuple[str, str]:
    """A Python of our version that every user may run, and a PYTHONPATH for it that every user may read."""
    ours = os.pathsep.join(path for path in sys.path if path and not _is_standard(path))
    if os.geteuid() == 0:
        for python in _PYTHONS:
            if _works(python, ours):
                return python, ours
        copied = os.pathsep.join(_copied())  # the checkout is where nobody else may go
        for python in _PYTHONS:
            if _works(python, copied):
                return python, copied
    return sys.executable, ours


def _is_standard(path: str) -> bool:
    """Whether it is of our own standard library, whose extensions another build of Python cannot load."""
    return path.endswith(".zip") or ("site-packages" not in path and path.startswith(sysconfig.get_path("stdlib")))


def _works(python: str, paths: str) -> bool:
    try:
        done = subprocess.run(
            [python, "-c", "import flowd.cli.main, msgspec"],
            user=ALICE,
            group=ALICE,
            extra_groups=[],
            cwd="/",
            env={"PYTHONPATH": paths},
            capture_output=True,
            timeout=60,
        )
    except OSError:
        return False
    return done.returncode == 0


def _copied() -> list[str]:
    """Copies of what we import, in a folder that is there until our process ends."""
    folder = Path(tempfile.mkdtemp(prefix="flowd-for-others-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    folder.chmod(0o755)
    checkout = Path(__file__).resolve().parents[1]
    python = checkout / "clients" / "python"
    sources = [checkout / "flowd", python / "flowd_client", python / "flowd_step"]
    for source in sources:
        shutil.copytree(source, folder / source.name, ignore=shutil.ignore_patterns("__pycache__"))
    installed = Path(sysconfig.get_path("purelib"))
    shutil.copytree(installed, folder / "installed", ignore=shutil.ignore_patterns("__pycache__", "*.pth"))
    return [str(folder), str(folder / "installed")]


PYTHON, PYTHONPATH = _found()

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
