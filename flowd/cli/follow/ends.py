"""Says how each followed run ended, and why an attempt failed that another one follows."""

from dataclasses import dataclass, field

from flowd.cli import printing, run_words
from flowd_client.views.run import RunView


@dataclass(slots=True)
class EndTeller:
    """Takes the looks at runs.

    Attributes:
        ended: The runs whose end was told.
    """

    ended: set[str] = field(default_factory=set)
    _shown: dict[str, int] = field(default_factory=dict)
    """Of each run the attempt whose output comes behind the last look at it, as `flowd_client.ordered` gives them."""

    _told: dict[str, int] = field(default_factory=dict)

    def look(self, run: RunView) -> str | None:
        """What is to be said at a look at a run: how the attempt ended whose output has come, where another follows."""
        shown = self._shown.get(run.id, 0)
        is_news = self._told.get(run.id, 0) < shown <= _failed(run)
        self._shown[run.id] = shown + 1 if 0 < shown < run.attempt_count else max(shown, run.attempt_count)
        if not is_news:
            return None
        self._told[run.id] = shown
        return _attempt(run, shown)

    def end(self, run: RunView) -> str | None:
        """What is to be said of a run that was followed to its end."""
        if not run.is_final:
            return None
        self.ended.add(run.id)
        return end_of(run)


def _attempt(run: RunView, number: int) -> str:
    attempt = run.attempts[number - 1]
    took = f" in {printing.took(attempt.duration_ms)}" if attempt.duration_ms is not None else ""
    why = f": {attempt.why}" if attempt.why else ""
    comes = run_words.waiting(run) if run.process_status == "queued" else f"attempt {number + 1} follows"
    name = f"{run.flow_name}/{run.step_name} ({run.id})"
    return f"{name} attempt {number} failed{took}{why}; {comes or 'another follows'}"


def _failed(run: RunView) -> int:
    """The number of the last attempt that failed and was, or will be, followed by another one; 0 for none."""
    if run.process_status == "queued" and "attempt" in (run.waiting_for or {}):
        return len(run.attempts)
    return max(0, len(run.attempts) - 1)


def end_of(run: RunView) -> str:
    """How a run ended, in a line: its status, its attempts, how long they took, its exit code, and why, without the
    code once more."""
    attempts = f" after {run.attempt_count} attempts" if run.attempt_count > 1 else ""
    took = f" in {printing.took(run.duration_ms)}" if run.duration_ms is not None else ""
    code = "" if run.exit_code is None else f", exit code {run.exit_code}"
    said = (run.why or run_words.why(run) or run.message or "").partition("\n")[0]
    why = said.removeprefix(f"exited with {run.exit_code}").removesuffix(f"(exit code {run.exit_code})").strip("; ")
    name = f"{run.flow_name}/{run.step_name} ({run.id})"
    return f"{name} {run.effective_status}{attempts}{took}{code}{f': {why}' if why else ''}"
