"""The flowd before this one, as its wheel: built from this repository's history once, and kept in ``.tools``."""

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest

import flowd
import flowd_client

CHECKOUT = Path(__file__).resolve().parents[1]
COMMIT = "32c47be48364a75e1873ecb9e61218d9c3b2d3c9"
"""What its state looks like, and what its keepers and units are, must be understood by this one."""

_NEEDED = ("starlette>=0.45,<2",)
"""Of what it depends on, what this flowd does not."""


def previous_version() -> Path:
    """A folder with the packages of the wheel, for ``PYTHONPATH``; what it depends on is that of this flowd, and
    beside it what this one needs no more.

    Skips where the history does not reach back so far.
    """
    folder = CHECKOUT / ".tools" / f"flowd-{COMMIT[:12]}"
    if not folder.exists():
        _require_history()
        with tempfile.TemporaryDirectory(prefix=folder.name, dir=_made(folder.parent)) as scratch:
            unpacked = _build(Path(scratch))
            try:
                unpacked.rename(folder)
            except OSError:  # another worker was faster
                assert folder.exists()
    return folder


def environment_of(folder: Path) -> dict[str, str]:
    """What has ``python -m flowd`` be the one in that folder."""
    return {"PYTHONPATH": str(folder), "PYTHONSAFEPATH": "1"}


def newer_version(folder: Path) -> Path:
    """A copy of the program that calls itself 99.0.0, with another keeper."""
    for package in (flowd, flowd_client):
        source = Path(package.__file__).parent
        shutil.copytree(source, folder / source.name, ignore=shutil.ignore_patterns("__pycache__"))
    version = folder / "flowd/__init__.py"
    version.write_text(version.read_text().replace(f'"{flowd.__version__}"', '"99.0.0"'))
    keeper = folder / "flowd/keeper/main.py"
    keeper.write_text(keeper.read_text().replace("\ndef log(", '\nNEWER = "99.0.0"\n\n\ndef log(', 1))
    return folder


def _made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


def _require_history() -> None:
    if shutil.which("git") is None:
        pytest.skip("NOT TESTED: an upgrade from the version before, because there is no git to get it with")
    found = _git("cat-file", "-e", f"{COMMIT}^{{commit}}", check=False)
    if found.returncode:
        pytest.skip(
            f"NOT TESTED: an upgrade from the version before, because this checkout's history has no commit {COMMIT}; "
            f"`git fetch --unshallow` gets it: {found.stderr.strip()}"
        )


def _build(scratch: Path) -> Path:
    source, unpacked = scratch / "source", scratch / "unpacked"
    _git("archive", f"--output={scratch / 'source.zip'}", COMMIT)
    with zipfile.ZipFile(scratch / "source.zip") as archive:
        archive.extractall(source)
    built = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(unpacked), str(source),
         *_NEEDED],
        capture_output=True, text=True, env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
    )  # fmt: skip
    assert built.returncode == 0, f"the wheel of {COMMIT} cannot be built: {built.stdout}{built.stderr}"
    unpacked.chmod(0o755)
    return unpacked


def _git(*argv: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
    # The checkout may be another user's, as in a container.
    command = ["git", "-c", f"safe.directory={CHECKOUT}", "-C", str(CHECKOUT), *argv]
    return subprocess.run(command, check=check, capture_output=True, text=True)
