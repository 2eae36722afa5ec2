"""Collects what is wrong in one TOML file, with the place of each."""

from dataclasses import dataclass, field, replace

from flowd.domain.finding import Finding, in_order
from flowd.formats.places import Place, Places

MAX_FINDINGS = 1_000
"""Of each severity. More of them is another file under this one's name."""


@dataclass
class Report:
    """What was found in one file until now.

    Attributes:
        file: Its absolute path; may be empty where nobody asks for it.
        places: Where the keys and values of its text are.
    """

    file: str
    places: Places
    _found: list[Finding] = field(default_factory=list)
    _errors: int = 0

    def note(self, finding: Finding, place: Place, *, is_value: bool) -> Finding:
        """Add a finding about the key, or the value, at a place; it is told with the file and the place."""
        span = (self.places.value if is_value else self.places.key)(*place)
        if span is not None:
            finding = replace(finding, line=span.line, column=span.column, end_column=span.end_column)
        finding = replace(finding, file=self.file)
        self._found.append(finding)
        self._errors += finding.is_error
        return finding

    def findings(self) -> tuple[Finding, ...]:
        """All of them in order."""
        errors = [one for one in self._found if one.is_error]
        warnings = [one for one in self._found if not one.is_error]
        return in_order((*errors[:MAX_FINDINGS], *warnings[:MAX_FINDINGS]))

    def errors(self) -> int:
        """How many errors there are: with any, the file cannot be used."""
        return self._errors
