"""What is wrong or doubtful in a file that people write: the one form in which the daemon, its log, the CLI and editors
are told of it."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

MAX_SENTENCES = 50
"""They travel with every list of flows."""


class Severity(StrEnum):
    """How bad a finding is."""

    ERROR = "error"
    """The file is not used as it is."""

    WARNING = "warning"
    """It is used, and may not do what its author means."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong in one file.

    Attributes:
        file: Absolute path.
        code: A slug that stays the same when the sentence is reworded, such as ``unknown-key``.
        message: One sentence without file and line, and without a full stop.
        remedy: A sentence that says what to do; None where the message does.
        suggestion: The word that was probably meant, as it is written in the file, without quotes.
        line: From 1; None where only the file is known.
        column: From 1, in code points; None where only the line is known. A byte order mark does not count.
        end_column: The first column behind it, on the same line.
    """

    file: str
    code: str
    severity: Severity
    message: str
    remedy: str | None = None
    suggestion: str | None = None
    line: int | None = None
    column: int | None = None
    end_column: int | None = None

    @property
    def is_error(self) -> bool:
        """Whether the file is not used as it is."""
        return self.severity is Severity.ERROR

    @property
    def position(self) -> str:
        """The file, with line and column as far as they are known, as compilers write it.

        >>> Finding("/f.toml", "unknown-key", Severity.WARNING, "m", line=3, column=5).position
        '/f.toml:3:5'
        """
        return ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)

    def text(self) -> str:
        """The message with what was probably meant.

        >>> Finding("/f", "unknown-key", Severity.WARNING, 'unknown key "grace"', suggestion="grace_ms").text()
        'unknown key "grace"; did you mean grace_ms?'
        """
        return self.message if self.suggestion is None else f"{self.message}; did you mean {self.suggestion}?"

    def sentence(self) -> str:
        """All of it in one line.

        >>> Finding("/f.toml", "missing-key", Severity.ERROR, "name is missing", 'Add name = "a".', line=1).sentence()
        '/f.toml:1: name is missing. Add name = "a".'
        """
        told = self.text()
        stop = "" if told.endswith("?") else "."
        return f"{self.position}: {told}{stop}" + (f" {self.remedy}" if self.remedy else "")


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Findings by file, line and column, each once; what is about all of a file comes first.

    Those of one place keep their order.
    """
    return tuple(sorted(dict.fromkeys(findings), key=lambda one: (one.file, one.line or 0, one.column or 0)))


def sentences(findings: Iterable[Finding]) -> tuple[str, ...]:
    """Findings as lists of flows have them: a sentence each, with its line, and at most `MAX_SENTENCES` of them."""
    told = tuple(_sentence(finding) for finding in findings)
    more = len(told) - MAX_SENTENCES
    return told if more <= 0 else (*told[:MAX_SENTENCES], f"and {more} more")


def _sentence(finding: Finding) -> str:
    text = finding.text()
    if finding.remedy is not None:
        text = f"{text}{'' if text.endswith('?') else '.'} {finding.remedy.rstrip('.')}"
    return text if finding.line is None else f"line {finding.line}: {text}"
