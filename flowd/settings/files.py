"""Reads the two settings files, ``<workspace>/.codex/flowd.toml`` and the user's ``flowd/config.toml``, and tells all
that is wrong with them."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from flowd.domain.finding import Finding, Severity, in_order
from flowd.formats import toml
from flowd.formats.checking import Misfit, misfits
from flowd.formats.places import Places
from flowd.formats.typed import Field, fields_of, from_text, read
from flowd.settings.tables import Tables
from flowd.settings.values import SettingsError, Simple
from flowd_client import small_file

SETTINGS_FILE = "flowd.toml"
"""The workspace's, in ``.codex``."""


class SettingsFile(NamedTuple):
    """A settings file: its members as they are written, its tables read, and where everything stands."""

    path: Path
    members: Mapping[str, Any]
    tables: Tables
    places: Places

    def position(self, *place: str | int) -> str:
        """The file and the line of a setting in it."""
        line = self.places.line(*place)
        return str(self.path) if line is None else f"{self.path}:{line}"


class Checked(NamedTuple):
    """What came of reading a file; ``file`` is None where it cannot be used."""

    file: SettingsFile | None
    findings: tuple[Finding, ...] = ()


class FileError(SettingsError):
    """Settings files cannot be used. ``findings`` are all that is wrong or doubtful in them."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        sentences = [error.sentence() for error in findings if error.is_error]
        message = (
            sentences[0] if len(sentences) == 1 else "\n  ".join([f"{len(sentences)} settings are wrong:", *sentences])
        )
        super().__init__(message)
        self.findings = tuple(findings)
        self.sentences = tuple(sentences)


def read_files(paths: Sequence[Path]) -> tuple[list[SettingsFile], tuple[Finding, ...]]:
    """Read settings files. One that does not exist sets nothing.

    Returns:
        The files, and what is doubtful about them.

    Raises:
        FileError: Something in them cannot be used.
    """
    checked = [check_file(path) for path in paths]
    findings = [finding for each in checked for finding in each.findings]
    if any(finding.is_error for finding in findings):
        raise FileError(findings)
    return [each.file for each in checked if each.file is not None], tuple(findings)


def check_file(path: Path) -> Checked:
    """Read a settings file, and find all that is wrong with it by itself. Never raises."""
    try:
        return check_text(path, small_file.read(path))
    except FileNotFoundError:
        return check_text(path, b"")
    except OSError as error:
        return Checked(None, (_unreadable(path, error),))


def check_text(path: Path, content: bytes) -> Checked:
    """The same for what a file holds, or would."""
    try:
        text = content.decode("utf-8-sig")
        members = toml.parse(text)
    except UnicodeDecodeError as error:
        return Checked(None, (_unreadable(path, error),))
    except toml.TomlError as error:
        return Checked(None, (_not_toml(path, error),))
    places = Places(text)
    findings = list(_spelled_numbers(path, members, places))
    findings += [_finding(path, misfit, places) for misfit in misfits(members, Tables)]
    if any(finding.is_error for finding in findings):
        return Checked(None, in_order(findings))
    return Checked(SettingsFile(path, members, read(members, Tables), places), in_order(findings))


def _unreadable(path: Path, error: Exception) -> Finding:
    return Finding(str(path), "unreadable", Severity.ERROR, f"it cannot be read: {error}")


def _not_toml(path: Path, error: toml.TomlError) -> Finding:
    return Finding(
        str(path), "invalid-toml", Severity.ERROR, str(error), "Correct the TOML there.", None, error.line, error.column
    )


def _spelled_numbers(path: Path, members: dict[str, Any], places: Places) -> Iterator[Finding]:
    """Take numbers in quotes for numbers, as flowd always has."""
    for field in fields_of(Simple).values():
        said = members.get(field.name)
        if field.kind.base in (int, float) and isinstance(said, str) and _is_number(said, field):
            members[field.name] = from_text(said, field.type)
            span = places.value(field.name)
            yield Finding(
                str(path),
                "quoted-number",
                Severity.WARNING,
                f"{field.name} is a number in quotes",
                f"Write {field.name} = {members[field.name]}.",
                None,
                *(span or ()),
            )


def _is_number(said: str, field: Field) -> bool:
    return not isinstance(from_text(said, field.type), str)


def _finding(path: Path, misfit: Misfit, places: Places) -> Finding:
    span = places.key(*misfit.place) if misfit.is_key else places.value(*misfit.place)
    return Finding(
        str(path), misfit.code, Severity.ERROR, misfit.message, misfit.remedy, misfit.suggestion, *(span or (None,) * 3)
    )
