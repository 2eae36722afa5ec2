"""`flowd demo` is the first thing that people run: it has to work, to tell the truth, and to leave nothing behind."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

DEMO = [sys.executable, "-m", "flowd", "demo"]
TOOLS = Path(__file__).resolve().parents[2] / ".tools" / "node_modules" / ".bin"


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A folder for temporary files, as short as a user's own: paths of sockets are in there."""
    with tempfile.TemporaryDirectory(prefix="t-") as folder:
        yield Path(folder)


@pytest.fixture
def environ(scratch: Path) -> dict[str, str]:
    """Scratch folders go under this test's own, so that what is left behind can be seen."""
    return {**os.environ, "TMPDIR": str(scratch), "PATH": f"{TOOLS}:{os.environ['PATH']}"}


def left_behind(scratch: Path) -> list[str]:
    # The folder for sockets whose own path would be too long is shared and stays; nothing in it does.
    shared = scratch / f"flowd-{os.geteuid()}"
    found = [str(path) for path in scratch.rglob("*") if path != shared]
    for process in psutil.process_iter(["cmdline", "cwd"]):
        words = [*(process.info["cmdline"] or ()), process.info["cwd"] or ""]
        if any(str(scratch) in word for word in words):
            found.append(" ".join(words))
    return found


def programs(folder: Path, *names: str) -> str:
    """A PATH with these programs alone."""
    folder.mkdir()
    for name in names:
        found = shutil.which(name)
        assert found is not None
        (folder / name).symlink_to(found)
    return str(folder)


def test_the_demo_goes_well_and_leaves_nothing(scratch: Path, environ: dict[str, str]) -> None:
    done = subprocess.run(DEMO, env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    assert "Everything was as it should be" in done.stdout
    assert done.stderr == ""
    assert left_behind(scratch) == []
    if shutil.which("bun", path=environ["PATH"]):
        assert "LEFT OUT" not in done.stdout
        assert "changelog-card/make-card" in done.stdout


def test_without_bun_and_git_the_demo_says_loudly_what_it_left_out(tmp_path: Path, environ: dict[str, str]) -> None:
    environ["PATH"] = programs(tmp_path / "bin", "sh", "sed", "sleep", "cat")
    done = subprocess.run(DEMO, env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    assert "!! bun is not on PATH: the package changelog-card is LEFT OUT of this demo." in done.stdout
    assert "!! git is not on PATH: the package release-notes is LEFT OUT of this demo." in done.stdout
    assert "make-card" not in done.stdout


def test_a_demo_that_cannot_go_well_says_so(tmp_path: Path, scratch: Path, environ: dict[str, str]) -> None:
    environ["PATH"] = programs(tmp_path / "bin", "sh", "sed", "sleep", "cat", "git")
    (tmp_path / "bin" / "sed").unlink()  # announce needs it
    done = subprocess.run(DEMO, env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "FAILED: " in done.stdout
    assert "Everything was as it should be" not in done.stdout
    assert left_behind(scratch) == []


def test_an_interrupted_demo_leaves_nothing(scratch: Path, environ: dict[str, str]) -> None:
    with subprocess.Popen(DEMO, env=environ, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("$ flowd dispatch events/slow-build.json"):
                break
        # A step that takes a minute is about to run.
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        assert process.wait(timeout=60) == 130
    assert left_behind(scratch) == []
