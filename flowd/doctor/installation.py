"""Checks Python, flowd, and the libraries that flowd needs."""

import sys
from collections.abc import Iterator
from importlib import metadata

from flowd import __version__
from flowd.doctor.finding import Finding, fail, ok, warn
from flowd.doctor.scene import Scene
from flowd.observe.installed import DISTRIBUTION

CLIENT = "codex-flowd-client"
MIN_PYTHON = (3, 11)


_HOW = "in a clone of its repository: pip install ."


def check(_: Scene | None = None) -> Iterator[Finding]:
    """Check the installation. Needs no workspace."""
    python = ".".join(map(str, sys.version_info[:3]))
    where = f"{python} at {sys.executable}"
    if sys.version_info < MIN_PYTHON:
        yield fail("python", where, "flowd needs Python 3.11 or newer: install it with one.")
    else:
        yield ok("python", where)
    yield _packages()
    yield from _client()


def _client() -> Iterator[Finding]:
    """Both have the client's modules, so whoever is removed takes the other's along."""
    try:
        found = f"{CLIENT} {metadata.version(CLIENT)} is installed beside {DISTRIBUTION}, which has the same modules"
    except metadata.PackageNotFoundError:
        return
    yield warn("client", found, f"Remove it (pip uninstall {CLIENT}), and install flowd anew, {_HOW}")


def _packages() -> Finding:
    try:
        wanted = [line for line in metadata.requires(DISTRIBUTION) or [] if "extra ==" not in line]
    except metadata.PackageNotFoundError:
        return fail("flowd", f"{__version__}, but it is not installed", f"Install it, {_HOW}")
    found, missing = [], []
    for line in wanted:
        name = _name(line)
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            missing.append(line)
    if missing:
        return fail("flowd", f"{__version__} lacks {', '.join(missing)}", f"Install flowd anew, {_HOW}")
    return ok("flowd", f"{__version__} with {', '.join(found)}")


def _name(requirement: str) -> str:
    """The project that a requirement names.

    >>> _name("msgspec>=0.19"), _name("rich (>=13)")
    ('msgspec', 'rich')
    """
    end = next((at for at, char in enumerate(requirement) if not (char.isalnum() or char in "-_.")), None)
    return requirement[:end]
