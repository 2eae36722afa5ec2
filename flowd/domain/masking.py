"""A run as people and programs may see it: what it printed and said, with the secrets in it masked."""

from dataclasses import replace

from flowd.domain.people import Answer, Resolution
from flowd.domain.redaction import Redactor
from flowd.domain.result import FlowResult
from flowd.domain.run import Attempt, Run


def masked_run(run: Run, redactor: Redactor) -> Run:
    """The run with every secret masked in its errors, results, command lines and in what people said; itself when there
    is none."""
    if not redactor.longest:
        return run
    return replace(
        run,
        error=_text(run.error, redactor),
        result=_result(run.result, redactor),
        reported_result=_result(run.reported_result, redactor),
        resolution=_resolution(run.resolution, redactor),
        answer=_answer(run.answer, redactor),
        labels=tuple((name, redactor.text(value)) for name, value in run.labels),
        attempts=tuple(_attempt(attempt, redactor) for attempt in run.attempts),
    )


def _attempt(attempt: Attempt, redactor: Redactor) -> Attempt:
    return replace(
        attempt,
        error=_text(attempt.error, redactor),
        command=tuple(map(redactor.text, attempt.command)),
        leftovers=tuple(map(redactor.text, attempt.leftovers)),
        survivors=tuple(map(redactor.text, attempt.survivors)),
        result=_result(attempt.result, redactor),
        resolution=_resolution(attempt.resolution, redactor),
        answer=_answer(attempt.answer, redactor),
    )


def _resolution(said: Resolution | None, redactor: Redactor) -> Resolution | None:
    return None if said is None else replace(said, note=_text(said.note, redactor))


def _answer(said: Answer | None, redactor: Redactor) -> Answer | None:
    if said is None or said.input_json is None:
        return said
    return replace(said, input_json=redactor.json(said.input_json))


def _result(result: FlowResult | None, redactor: Redactor) -> FlowResult | None:
    return None if result is None else FlowResult(result.status, redactor.json(result.text))


def _text(text: str | None, redactor: Redactor) -> str | None:
    return None if text is None else redactor.text(text)
