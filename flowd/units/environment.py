"""The environment that a unit gives to its service: what it says itself, and the files that it names."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flowd.units.systemctl import ServiceManager


@dataclass(frozen=True, slots=True)
class UnitEnvironment:
    """What a service would start with.

    Attributes:
        values: Of variables that the unit or one of the files sets, and ``PATH``.
        files: That were read.
        closed: That may be there, and are not ours to read, each with the reason.
    """

    values: Mapping[str, str]
    files: tuple[Path, ...] = ()
    closed: tuple[tuple[Path, str], ...] = ()


def of(manager: ServiceManager, unit: str) -> UnitEnvironment:
    """Ask systemd, drop-ins included, and read the files. Files come last and win, as they do for the service.

    Where a file is not ours to read, a service of ours that runs tells what it got of it.
    """
    about = manager.show(unit, "Environment", "EnvironmentFiles", "MainPID")
    inherited = _assigned(manager.run("show-environment").splitlines())
    values = {name: value for name, value in inherited.items() if name == "PATH"}
    values |= _assigned(shlex.split(about.get("Environment", "")))
    files: list[Path] = []
    closed: list[tuple[Path, str]] = []
    for line in about.get("EnvironmentFiles", "").splitlines():
        path = Path(line.rpartition(" (ignore_errors=")[0])
        try:
            values |= parse(path.read_text(encoding="utf-8", errors="surrogateescape"))
            files.append(path)
        except FileNotFoundError:
            continue
        except OSError as error:
            closed.append((path, error.strerror or str(error)))
    if closed and (running := _running(about.get("MainPID", "0"))):
        return UnitEnvironment({**values, **running}, tuple(files))
    return UnitEnvironment(values, tuple(files), tuple(closed))


def _running(pid: str) -> dict[str, str]:
    """What the service was started with; empty where it does not run, or is not ours to look at."""
    try:
        text = Path(f"/proc/{pid}/environ").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return {}
    return {name: value for name, value in _assigned(text.split("\0")).items() if name.startswith(("FLOWD_", "CODEX_"))}


def parse(text: str) -> dict[str, str]:
    r"""The variables of an ``EnvironmentFile=``: a line each, ``#`` and ``;`` begin comments, quotes are optional.

    >>> parse('# limits\nFLOWD_MAX_PARALLEL=2\nFLOWD_BUN="/opt/my bun/bun"\nA = b c \\\n d\n;B=1\nnonsense\n')
    {'FLOWD_MAX_PARALLEL': '2', 'FLOWD_BUN': '/opt/my bun/bun', 'A': 'b c  d'}
    """
    lines = [line.strip() for line in text.replace("\\\n", "").splitlines()]
    return {name: _unquoted(value) for name, value in _assigned(lines).items() if not name.startswith(("#", ";"))}


def _assigned(words: list[str]) -> dict[str, str]:
    pairs = (word.partition("=") for word in words)
    return {name.strip(): value.strip() for name, equals, value in pairs if equals}


def _unquoted(value: str) -> str:
    """
    >>> _unquoted("'as $it is'"), _unquoted('"a \\\\"b\\\\""'), _unquoted("it's")
    ('as $it is', 'a "b"', "it's")
    """
    if len(value) < 2 or value[0] != value[-1] or value[0] not in "'\"":
        return value
    try:
        return "".join(shlex.split(value))
    except ValueError:
        return value
