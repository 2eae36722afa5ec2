"""A run as people and programs may see it: what it printed and said, with the secrets in it masked."""

from dataclasses import replace

from flowd.domain.redaction import Redactor
from flowd.domain.result import FlowResult
from flowd.domain.run import Attempt, Run


def masked_run(run: Run, redactor: Redactor) -> Run:
    """The run with every secret masked in its errors, results and command lines; itself when there is none."""
    if not redactor.longest:
        return run
    return replace(
        run,
        error=_text(run.error, redactor),
        result=_result(run.result, redactor),
        reported_result=_result(run.reported_result, redactor),
        attempts=tuple(_attempt(attempt, redactor) for attempt in run.attempts),
    )


def _attempt(attempt: Attempt, redactor: Redactor) -> Attempt:
    return replace(
        attempt,
        error=_text(attempt.error, redactor),
        command=tuple(map(redactor.text, attempt.command)),
        leftovers=tuple(map(redactor.text, attempt.leftovers)),
        survivors=tuple(map(redactor.text, attempt.survivors)),
    )


def _result(result: FlowResult | None, redactor: Redactor) -> FlowResult | None:
    return None if result is None else FlowResult(result.status, redactor.json(result.text))


def _text(text: str | None, redactor: Redactor) -> str | None:
    return None if text is None else redactor.text(text)
