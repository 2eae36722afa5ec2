"""flowd's wheel of this checkout, one with a higher version for upgrades, and what both need in the machine."""

import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
_TOOLS = ("pytest", "pytest-timeout")
_AS_SOURCE = ("jsonrpcserver", "oslash")
"""Pure Python, but in the registry as source only."""
_PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")


def wheels(folder: Path, python: str) -> Path:
    """A folder with ``now/`` (this checkout), ``next/`` (a version up) and ``needed/`` (what the registry has)."""
    made = folder / "wheels"
    for name in ("now", "next"):
        shutil.rmtree(made / name, ignore_errors=True)
    _build(CHECKOUT, made / "now")
    with tempfile.TemporaryDirectory(prefix="flowd-next-") as scratch:
        copy = Path(scratch) / "flowd"
        listed = subprocess.run(
            ["git", "-C", str(CHECKOUT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        for name in listed.stdout.split("\0"):
            if name and (CHECKOUT / name).is_file():
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(CHECKOUT / name, copy / name)
        about = copy / "flowd" / "__init__.py"
        text = re.sub(r'(__version__ = ")[^"]+', r"\g<1>99.0", about.read_text(encoding="utf-8"))
        about.write_text(text, encoding="utf-8")
        _build(copy, made / "next")
    _download(made / "needed", python)
    return made


def _build(source: Path, to: Path) -> None:
    _pip("wheel", "--no-deps", "--wheel-dir", str(to), str(source))


def _download(to: Path, python: str) -> None:
    """Dependencies, again only when they have changed."""
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *_TOOLS]
    recipe = hashlib.sha256(repr((wanted, python, _PLATFORMS)).encode()).hexdigest()
    mark = to / "recipe"
    if mark.exists() and mark.read_text(encoding="utf-8") == recipe:
        return
    shutil.rmtree(to, ignore_errors=True)
    for name in _AS_SOURCE:
        _pip(
            "wheel", "--no-deps", "--wheel-dir", str(to), *[text for text in wanted if text.startswith(name)] or [name]
        )
    platforms = [word for platform in _PLATFORMS for word in ("--platform", platform)]
    target = ["--only-binary=:all:", "--implementation", "cp", "--python-version", python, *platforms]
    _pip("download", "--dest", str(to), f"--find-links={to}", *target, *wanted)
    mark.write_text(recipe, encoding="utf-8")


def _pip(*argv: str) -> None:
    command = [sys.executable, "-m", "pip", *argv[:1], "-qq", "--disable-pip-version-check", *argv[1:]]
    subprocess.run(command, check=True)
