"""What is wrong or doubtful in a file, as callers see it."""

from flowd.api.shapes import View
from flowd.domain.finding import Finding, Severity


class FindingView(View):
    """One thing that is wrong (``error``) or doubtful (``warning``) in a file. ``line`` and ``column`` count from 1,
    columns in code points; ``endColumn`` is the first one behind it. ``suggestion``: what was probably meant."""

    path: str
    severity: Severity
    code: str
    message: str
    line: int | None = None
    column: int | None = None
    end_column: int | None = None
    remedy: str | None = None
    suggestion: str | None = None


def finding_view(finding: Finding) -> FindingView:
    """A finding."""
    return FindingView(
        path=finding.file,
        severity=finding.severity,
        code=finding.code,
        message=finding.message,
        line=finding.line,
        column=finding.column,
        end_column=finding.end_column,
        remedy=finding.remedy,
        suggestion=finding.suggestion,
    )
