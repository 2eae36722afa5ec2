"""What the model asks of a run alone: whether its ``when`` is met, and how an attempt's end is taken."""

from __future__ import annotations

from dataclasses import dataclass

from model.flows import End
from model.records import WELL, Copied, Run

_KEPT_OF_A_FAILED_PROCESS = ("failed", "blocked", "needs_intervention")


def copy_of(run: Run) -> Copied:
    """How it ended, for whoever asks."""
    return Copied(run.effective, run.is_below_failure)


def is_met(run: Run) -> bool:
    """Whether a run may go on whose needs have all ended, none of them as an open question."""
    ended = _asked_for(run)
    match run.step.when:
        case "success":
            return all(need.status in WELL for need in ended)
        case "not_failed":
            return all(need.status in (*WELL, "skipped") for need in ended)
        case "failure":
            return any(_is_failure(need) for need in ended) or (run.is_named and bool(run.copied))
        case "always":
            return not run.round.is_canceled
        case "finally":
            return True


def is_below_failure(run: Run) -> bool:
    """Whether something above it failed. Canceled and superseded are no failures."""
    return any(map(_is_failure, _asked_for(run)))


def _asked_for(run: Run) -> list[Copied]:
    """How the needs ended that its ``when`` asks of. A person who names a step in a replay knows what it copies."""
    return [copy_of(need) for need in run.needs] + ([] if run.is_named else list(run.copied.values()))


def _is_failure(need: Copied) -> bool:
    return need.status == "failed" or need.is_below_failure


@dataclass(frozen=True)
class Outcome:
    """What an attempt's end comes to, before ``next`` and the step's policy."""

    status: str
    result: str | None = None
    reason: str | None = None


def outcome(run: Run, end: End) -> Outcome:
    """How the attempt ended."""
    if end.code is None:
        return Outcome("canceled", None, run.ending or "canceled")
    if end.code:
        return Outcome("failed", end.says if end.says in _KEPT_OF_A_FAILED_PROCESS else None, "exit")
    return Outcome("failed", None, "no_result") if end.says is None else Outcome("completed", end.says)
