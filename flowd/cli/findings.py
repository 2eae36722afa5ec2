"""Prints findings as compilers do: place, severity and sentence on one line, then the line of the file with carets."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import click

from flowd.api import json
from flowd.api.shapes.findings import FindingView, finding_view
from flowd.cli import printing
from flowd.domain.finding import Finding, Severity

_MAX_FILE_BYTES = 4 << 20
_MAX_SHOWN_CHARS = 160
_TAB = "    "
_SECRET = re.compile(
    r"""(?<=://)[^/@\s"']*:(?P<password>[^/@\s"']+)@|\w*(?:password|secrets?|token|api_?key)["']?\s*=\s*(?P<rest>\S.*)""",
    re.IGNORECASE,
)
"""A password in an address, and all that follows a key that is named like one."""

_COLOURS = {Severity.ERROR: "red", Severity.WARNING: "yellow"}


def as_json(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """Findings for programs: every member is there, null where it is not known."""
    members = dict.fromkeys(json.decode(json.encode(_FULL)))
    return [{**members, **json.decode(json.encode(finding_view(finding)))} for finding in findings]


_FULL = FindingView("", Severity.ERROR, "", "", 1, 1, 1, "", "")


def draw(findings: Sequence[Finding], texts: Mapping[str, bytes] | None = None) -> None:
    """Print findings, then how many there are.

    Args:
        texts: By path, of files whose text is not the one on disk.
    """
    for file, found in groupby(findings, key=lambda finding: finding.file):
        text = (texts or {}).get(file)
        lines = _lines(_read(file) if text is None else text)
        for finding in found:
            _draw(finding, lines)
    if findings:
        errors = sum(finding.is_error for finding in findings)
        printing.line(f"{printing.count(errors, 'error')}, {printing.count(len(findings) - errors, 'warning')}")


def _draw(finding: Finding, lines: Sequence[str]) -> None:
    where = finding.position.replace(finding.file, shown_path(finding.file), 1)
    severity = _styled(finding.severity, fg=_COLOURS[finding.severity])
    # What a manifest says may have lines of its own, which editors would take for findings.
    said = printing.clean(finding.text()).replace("\n", "\\n")
    _echo(f"{_styled(printing.clean(where), bold=True)}: {severity}: {said}")
    margin = " " * max(4, len(str(finding.line or "")))
    for number, text in snippet(finding, lines):
        body = printing.clean(text) if number else _styled(text, fg=_COLOURS[finding.severity])
        _echo(f"{number.rjust(len(margin))} | {body}")
    if finding.remedy:
        _echo(f"{margin} = {printing.clean(finding.remedy)}")


def snippet(finding: Finding, lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The line of the file under its number, and the carets below it; nothing where the line is not known, or is empty.

    >>> finding = Finding("/f", "c", Severity.ERROR, "m", line=2, column=6, end_column=9)
    >>> list(snippet(finding, ["", "\\tn = 'ab'"]))
    [('2', "    n = 'ab'"), ('', '        ^^^')]

    What looks like a secret is not shown.

    >>> next(snippet(Finding("/f", "c", Severity.ERROR, "m", line=1), ['store = "postgresql://me:mine@db/work"']))
    ('1', 'store = "postgresql://me:****@db/work"')
    """
    if finding.line is None or finding.line > len(lines) or not lines[finding.line - 1].strip():
        return
    line, column = _SECRET.sub(_stars, lines[finding.line - 1]), finding.column
    if column is None:
        yield str(finding.line), _plain(line)[:_MAX_SHOWN_CHARS]
        return
    start, end = column - 1, max(column, (finding.end_column or column + 1) - 1)
    cut = max(0, start - _MAX_SHOWN_CHARS // 2) if len(line) > _MAX_SHOWN_CHARS else 0
    yield str(finding.line), _plain(line[cut : cut + _MAX_SHOWN_CHARS])
    before, under = _plain(line[cut:start]), _plain(line[start : min(end, cut + _MAX_SHOWN_CHARS)])
    yield "", " " * _width(before) + "^" * max(1, _width(under))


def _stars(found: re.Match[str]) -> str:
    """What was found, with a star for each character of the secret, so that carets stay where they are."""
    start, end = found.span(found.lastgroup or 0)
    return f"{found[0][: start - found.start()]}{'*' * (end - start)}{found[0][end - found.start() :]}"


def shown_path(file: str) -> str:
    """A path as people read it: from here on where it lies below."""
    try:
        return str(Path(file).relative_to(Path.cwd()))
    except (ValueError, OSError):
        return file


def _read(file: str) -> bytes:
    try:
        with open(os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as stream:
            return stream.read(_MAX_FILE_BYTES) or b""
    except OSError:
        return b""


def _lines(text: bytes) -> list[str]:
    return [line.rstrip("\r") for line in text.decode("utf-8-sig", "replace").split("\n")]


def _plain(text: str) -> str:
    """With a blank for each control character, so that carets stand below what they mean."""
    return "".join(char if char.isprintable() else " " for char in text.replace("\t", _TAB))


def _width(text: str) -> int:
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # noqa: PLC0415 - only for those who need it

    return cell_len(text)


def _styled(text: str, *, fg: str | None = None, bold: bool = False) -> str:
    return click.style(text, fg=fg, bold=bold or None) if printing.has_colours() else text


def _echo(text: str) -> None:
    click.echo(text.encode("utf-8", "backslashreplace"))
