"""Reads the environment that a unit gives to its service: its own settings, the files that it names, credentials."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flowd.service import unit_files
from flowd.service.systemctl import ServiceManager

_STAND_IN = "(a credential of the unit)"
_STAND_INS = {
    "flowd-http-secret": ("FLOWD_HTTP_SECRET", _STAND_IN),
    "flowd-http-token": ("FLOWD_HTTP_TOKEN", _STAND_IN),
    "flowd-store": ("FLOWD_STORE", "postgresql://a-credential-of-the-unit"),
}
"""Credentials that are flowd's, and the variables that would say the same, with a placeholder."""
_CREDENTIALS = re.compile(r"((?:Load|Set)Credential(?:Encrypted)?)\s*=\s*([^:\s]*)")
_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"|(\S+)')
_QUOTED_ESCAPE = re.compile(r'\\(["\\`$])')
"""Within double quotes, of ``systemctl show`` and of files of variables."""
_LINE = re.compile(
    r"""\s*(?: (?P<comment> [#;] (?:\\.|[^\\\n])* )
    | (?P<name> [^=\n]+ )
      (?: =[ \t]* (?P<quoted> (?: (?: '[^']*(?:'|\Z) | "(?:\\.|[^"\\])*(?:"|\Z) ) [ \t]* )* )
        (?P<rest> (?:\\.|[^\\\n])* ) )? )""",
    re.DOTALL | re.VERBOSE,
)
"""Of a file of variables, as systemd goes through it; what is in quotes may have lines of its own."""
_QUOTED = re.compile(r"""'([^']*)'?|"((?:\\.|[^"\\])*)"?""", re.DOTALL)
_REST_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_IS_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*").fullmatch


@dataclass(frozen=True, slots=True)
class UnitEnvironment:
    """What a service would start with.

    Attributes:
        values: Of variables that the unit or one of the files sets, and ``PATH``. For a secret that is a credential,
            which only the service itself can read, there is a placeholder.
        files: Those that were read.
        closed: Files that we may not read, each with the reason.
        dropped: Lines of files, by number, that systemd ignores because they are no assignments.
    """

    values: Mapping[str, str]
    files: tuple[Path, ...] = ()
    closed: tuple[tuple[Path, str], ...] = ()
    dropped: tuple[tuple[Path, int], ...] = ()


def of(manager: ServiceManager, unit: str) -> UnitEnvironment:
    """The environment of a unit, with its drop-ins. Files come last and win, as they do for the service.

    Where we may not read a file, a running service of ours shows what it got from it.
    """
    about = manager.show(unit, "Environment", "EnvironmentFiles", "MainPID")
    inherited = _assigned(manager.run("show-environment").splitlines())
    values = {name: value for name, value in inherited.items() if name == "PATH"}
    values |= _assigned(words(about.get("Environment", "")))
    files: list[Path] = []
    closed: list[tuple[Path, str]] = []
    dropped: list[tuple[Path, int]] = []
    for line in about.get("EnvironmentFiles", "").splitlines():
        path = Path(line.rpartition(" (ignore_errors=")[0])
        try:
            found, lost = parse(path.read_text(encoding="utf-8", errors="surrogateescape"))
            values |= found
            files.append(path)
            dropped += [(path, line) for line in lost]
        except FileNotFoundError:
            continue
        except OSError as error:
            closed.append((path, error.strerror or str(error)))
    for name in credentials(_texts(manager, unit)) & _STAND_INS.keys():
        variable, stand_in = _STAND_INS[name]
        values[variable] = values.get(variable) or stand_in
    if closed and (running := _running(about.get("MainPID", "0"))):
        return UnitEnvironment({**values, **running}, tuple(files), (), tuple(dropped))
    return UnitEnvironment(values, tuple(files), tuple(closed), tuple(dropped))


def _texts(manager: ServiceManager, unit: str) -> str:
    """The unit's text with its drop-ins. ``systemctl show`` does not name credentials.

    For a unit that is not installed yet, systemd does not know the drop-ins either.
    """
    if text := manager.text(unit):
        return text
    folder = unit_files.folder(manager.scope, Path.home())
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
    """The environment of the running service; empty where it does not run, or we may not look."""
    try:
        text = Path(f"/proc/{pid}/environ").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return {}
    return {name: value for name, value in _assigned(text.split("\0")).items() if name.startswith(("FLOWD_", "CODEX_"))}


def parse(text: str) -> tuple[dict[str, str], list[int]]:
    r"""The variables of an ``EnvironmentFile=``, and the numbers of the lines that are none.

    A line each, ``#`` and ``;`` begin comments, quotes are optional.

    >>> parse('# limits\nFLOWD_BUN="/opt/my bun/bun"\nA = b c \\\n d\n;B=1\nnonsense\nexport C=1\n')
    ({'FLOWD_BUN': '/opt/my bun/bun', 'A': 'b c  d'}, [6, 7])
    """
    values: dict[str, str] = {}
    dropped: list[int] = []
    for line in _LINE.finditer(text.replace("\r", "\n")):
        if line["comment"] is not None:
            continue
        name = line["name"].rstrip()
        if line["rest"] is not None and _IS_NAME(name):
            values[name] = _value(line["quoted"], line["rest"])
        else:
            dropped.append(text.count("\n", 0, line.start("name")) + 1)
    return values, dropped


def _assigned(words: list[str]) -> dict[str, str]:
    pairs = (word.partition("=") for word in words)
    return {name.strip(): value.strip() for name, equals, value in pairs if equals}


def words(text: str) -> list[str]:
    r"""A list as ``systemctl show`` has it: words that need it stand in double quotes, which a shell would understand.

    >>> words(r'A=1 "B=a b" "C=/srv/a\$b\`c\"d\\e"')
    ['A=1', 'B=a b', 'C=/srv/a$b`c"d\\e']
    """
    return [_QUOTED_ESCAPE.sub(r"\1", found[1]) if found[2] is None else found[2] for found in _WORD.finditer(text)]


def _value(quoted: str, rest: str) -> str:
    r"""
    >>> _value("'as $it \\ is'", ""), _value(r'"a \"b\" \$c \d"', ""), _value("", "it's \\\\ ")
    ('as $it \\ is', 'a "b" $c \\d', "it's \\")
    """
    parts = [
        _QUOTED_ESCAPE.sub(r"\1", found[2]) if found[1] is None else found[1] for found in _QUOTED.finditer(quoted)
    ]
    return "".join(parts) + _REST_ESCAPE.sub(lambda found: found[1].strip("\n"), rest.strip())
