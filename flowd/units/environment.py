"""The environment that a unit gives to its service: what it says itself, the files that it names, and credentials."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flowd.units import templates
from flowd.units.systemctl import ServiceManager

_STAND_INS = {"flowd-http-secret": "FLOWD_HTTP_SECRET", "flowd-http-token": "FLOWD_HTTP_TOKEN"}
"""Credentials that are flowd's, and the variables that would say the same."""
_STAND_IN = "(a credential of the unit)"
_CREDENTIALS = re.compile(r"((?:Load|Set)Credential(?:Encrypted)?)\s*=\s*([^:\s]*)")
_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"|(\S+)')
_QUOTED_ESCAPE = re.compile(r'\\(["\\`$])')
"""Within double quotes, of ``systemctl show`` and of files of variables."""


@dataclass(frozen=True, slots=True)
class UnitEnvironment:
    """What a service would start with.

    Attributes:
        values: Of variables that the unit or one of the files sets, and ``PATH``. For a secret that is a credential,
            which only the service itself can read, there is a stand-in: good to know that there is one, and no more.
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
    values |= _assigned(words(about.get("Environment", "")))
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
    for name in credentials(_texts(manager, unit)) & _STAND_INS.keys():
        values[_STAND_INS[name]] = values.get(_STAND_INS[name]) or _STAND_IN
    if closed and (running := _running(about.get("MainPID", "0"))):
        return UnitEnvironment({**values, **running}, tuple(files))
    return UnitEnvironment(values, tuple(files), tuple(closed))


def _texts(manager: ServiceManager, unit: str) -> str:
    """The unit as it is written, drop-ins included: of credentials, ``systemctl show`` says only that they are there.

    Of a unit that is still to be installed systemd knows not even the drop-ins.
    """
    if text := manager.text(unit):
        return text
    folder = templates.folder(manager.scope, Path.home())
    texts = []
    for name in (f"{unit.partition('@')[0]}@.service.d", f"{unit}.d"):
        for path in sorted((folder / name).glob("*.conf")):
            try:
                texts.append(path.read_text(encoding="utf-8", errors="surrogateescape"))
            except OSError:
                continue
    return "\n".join(texts)


def credentials(text: str) -> set[str]:
    """The names of the credentials that a unit gives to its service. One setting without a value takes back those
    before it.

    >>> sorted(credentials("[Service]\\nLoadCredential=a:/etc/a\\nSetCredential = b:x\\n#LoadCredential=c\\n"))
    ['a', 'b']
    """
    found: dict[str, set[str]] = {}
    for line in text.replace("\\\n", " ").splitlines():
        if setting := _CREDENTIALS.match(line.strip()):
            key = setting[1].removesuffix("Encrypted")
            found[key] = {*found.get(key, ()), setting[2]} if setting[2] else set()
    return set().union(*found.values())


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


def words(text: str) -> list[str]:
    r"""A list as ``systemctl show`` has it: words that need it stand in double quotes, which a shell would understand.

    >>> words(r'A=1 "B=a b" "C=/srv/a\$b\`c\"d\\e"')
    ['A=1', 'B=a b', 'C=/srv/a$b`c"d\\e']
    """
    return [_QUOTED_ESCAPE.sub(r"\1", found[1]) if found[2] is None else found[2] for found in _WORD.finditer(text)]


def _unquoted(value: str) -> str:
    r"""
    >>> _unquoted("'as $it \\ is'"), _unquoted(r'"a \"b\" \$c \d"'), _unquoted("it's")
    ('as $it \\ is', 'a "b" $c \\d', "it's")
    """
    if len(value) < 2 or value[0] != value[-1] or value[0] not in "'\"":
        return value
    return value[1:-1] if value[0] == "'" else _QUOTED_ESCAPE.sub(r"\1", value[1:-1])
