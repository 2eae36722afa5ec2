"""What the screen tells of one run above its output. Pure."""

import json
from collections.abc import Iterable

from rich.text import Text

from flowd.cli import printing, run_words
from flowd.cli.printing import STATUS_STYLES
from flowd.cli.run_words import why
from flowd.formats.terminal import escaped
from flowd_client.views.run import AttemptView, RunView

_MAX_RESULT = 2000


def facts(run: RunView) -> Text:
    """A run's names and figures, a line each."""
    pairs = [(name, value) for name, value in _pairs(run) if value]
    width = max(len(name) for name, _ in pairs)
    lines = [Text.assemble((name.ljust(width), "dim"), "  ", escaped(value)) for name, value in pairs]
    status = Text.assemble(
        (run.effective_status, f"bold {STATUS_STYLES.get(run.effective_status, '')}".strip()),
        "  ",
        (escaped(f"{run.flow_name}/{run.step_name}"), "bold"),
    )
    return Text("\n").join([status, *lines])


def _pairs(run: RunView) -> Iterable[tuple[str, str | None]]:
    yield "run", run.id
    yield "event", run.event_id
    yield ("asks", run.message) if run.needs_attention else ("says", None if run.why else run.message)
    yield "waits", run_words.waiting(run) if run.process_status == "queued" else None
    yield "progress", run_words.progress(run.progress)
    yield "why", why(run) if run.is_final and not run.needs_attention else None
    yield "ended", _end(run)
    yield "attempts", _attempts(run.attempts)
    yield "host", run.attempts[0].host if len(run.attempts) == 1 else None
    yield "word", run_words.resolution(run.resolution)
    yield "answer", run_words.answer(run.answer)
    yield "result", _result(run)


def _end(run: RunView) -> str | None:
    if not run.is_final:
        return None
    code = f"exit code {run.exit_code}" if run.exit_code else ""
    signal = f"signal {run.signal}" if run.signal else ""
    return "  ".join(filter(None, (f"after {printing.took(run.duration_ms)}", run.reason, code, signal)))


def _attempts(attempts: Iterable[AttemptView]) -> str | None:
    told = [
        f"{one.attempt_number} {one.result_status or one.status} {printing.took(one.duration_ms)}".removesuffix(" -")
        + (f" on {one.host}" if one.host else "")
        for one in attempts
    ]
    return ", ".join(told) if len(told) > 1 else None


def _result(run: RunView) -> str | None:
    if run.result_payload is None:
        return None
    text = json.dumps(run.result_payload, ensure_ascii=False)
    return text if len(text) <= _MAX_RESULT else f"{text[:_MAX_RESULT]}…"
