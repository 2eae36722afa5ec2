"""Questions: runs that ended ``blocked`` or ``needs_intervention``, which a person may answer once."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flowd.domain.errors import AlreadyAnsweredError, FlowdError, NotAskingError, RunActiveError
from flowd.domain.instants import instant
from flowd.domain.people import Answer, Person, Resolution
from flowd.domain.run import Run

MAX_MESSAGE_CHARACTERS = 2_000
"""Of a question in lists."""

_VERBS = {
    "completed": "approved",
    "changed": "resolved as changed",
    "skipped": "resolved as skipped",
    "failed": "rejected",
    "canceled": "closed",
}


@dataclass(frozen=True, slots=True)
class Question:
    """A run that asks, and what waits for its answer.

    Attributes:
        since_ms: When it ended with that.
        steps: Steps of its flow that wait for the answer, or for those that do; a few of them.
        waiting: How many these are in all.
        rounds: How many rounds wait for the key that its own holds, see `flowd.domain.concurrency`; counted to 1,000.
        behind: The events of these rounds, in the order in which they get it; a few of them.
    """

    run: Run
    since_ms: int
    steps: tuple[str, ...] = ()
    waiting: int = 0
    rounds: int = 0
    behind: tuple[str, ...] = ()


def message_of(run: Run) -> str | None:
    """What the step says in its result for people; None where it says nothing."""
    said = run.result.value.get("message") if run.result is not None else None
    return said[:MAX_MESSAGE_CHARACTERS] if isinstance(said, str) and said.strip() else None


def refusal(run: Run, attempt: int | None) -> FlowdError | None:
    """Why a person's word on a run cannot be taken; None where it asks.

    Args:
        attempt: The number of the attempt whose question that person has seen; None for the last.
    """
    if run.resolution is not None:
        return _resolved(run.id, run.resolution)
    is_other = attempt is not None and attempt != run.attempt_count
    if run.answer is not None and (is_other or not run.status.is_final):
        return _answered(run, run.answer)
    if not run.status.is_final:
        return RunActiveError(f"Run {run.id} is {run.status} and asks nothing yet.", status=run.status)
    if not run.needs_attention:
        return NotAskingError(
            f"Run {run.id} asks nothing: it ended {run.effective_status}. Only runs that ended blocked or"
            " needs_intervention are answered; `flowd attention` lists them.",
            status=run.effective_status,
        )
    if is_other:
        return NotAskingError(
            f"Attempt {attempt} of run {run.id} is not the last one any more; attempt {run.attempt_count} asks.",
            attempt=run.attempt_count,
        )
    return None


def by_members(person: Person) -> dict[str, Any]:
    """Who said it, as the wire and steps see it."""
    return _present({"via": person.via, "uid": person.uid, "name": person.name})


def _resolved(run_id: str, said: Resolution) -> FlowdError:
    at = instant(said.at_ms)
    note = f" ({said.note[:200]})" if said.note else ""
    how = f"{_VERBS[said.status]} by {said.by} at {at} already"
    if said.status == "canceled" and said.by.via == "flowd" and note:  # which says which younger round came after it
        how, note = f"superseded at {at}, and its question closed", f": {said.note}"
    members = _present({"status": said.status, "note": said.note, "by": by_members(said.by), "at": at})
    return AlreadyAnsweredError(f"Run {run_id} was {how}{note}.", resolution=members)


def _answered(run: Run, said: Answer) -> FlowdError:
    at = instant(said.at_ms)
    return AlreadyAnsweredError(
        f"Run {run.id} was answered by {said.by} at {at} already; it is {run.effective_status} now.",
        answer={"by": by_members(said.by), "at": at},
        status=run.effective_status,
    )


def _present(members: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}
