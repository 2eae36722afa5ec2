"""Steps that need other steps: whether a run is to start once all that it needs has ended. No I/O."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from flowd.domain.run import Reason

When = Literal["success", "not_failed", "failure", "always", "finally"]
"""What a step asks of the ends of those that it needs.

``success``: all completed or changed. ``not_failed``: skipped is fine, too. ``failure``: one failed, or was not run
because something above it had failed. ``always``: nothing, but a cancel of the event ends it. ``finally``: nothing.
"""

WHENS: tuple[When, ...] = get_args(When)

_WELL = frozenset({"completed", "changed"})


@dataclass(frozen=True, slots=True)
class NeedEnd:
    """How a step ended that another one needs.

    Attributes:
        status: The effective one.
        result: What stands as its result, as JSON; None where there is none.
        failed_above: It was not run, because something above it had failed.
        is_asked: Whether `unmet` looks at it. It does not where the need was copied for a step that a person named in a
            replay.
    """

    step_name: str
    run_id: str
    status: str
    reason: Reason | None = None
    result: str | None = None
    failed_above: bool = False
    is_asked: bool = True

    @property
    def is_failure(self) -> bool:
        """It failed, or was not run because something above it had failed."""
        return self.status == "failed" or self.failed_above


def unmet(when: When, ends: Sequence[NeedEnd]) -> str | None:
    """Why a run does not start after these ends, as its result's message; None where it does.

    >>> unmet("success", [NeedEnd("test", "run_1", "changed"), NeedEnd("lint", "run_2", "failed")])
    'needs lint, which failed'
    >>> unmet("failure", [NeedEnd("test", "run_1", "changed"), NeedEnd("lint", "run_2", "failed")]) is None
    True
    """
    asked = [end for end in ends if end.is_asked]
    match when:
        case "always" | "finally":
            return None
        case "failure":
            if len(asked) < len(ends) or any(end.is_failure for end in asked):
                return None
            return f"runs after a failure, and there was none: {_told(asked)}"
        case "success" | "not_failed":
            fine = _WELL if when == "success" else _WELL | {"skipped"}
            culprits = [end for end in asked if end.status not in fine]
            return f"needs {_told(culprits, ', which ')}" if culprits else None


def _told(ends: Iterable[NeedEnd], joint: str = " ") -> str:
    told = [f"{end.step_name}{joint}{_past(end)}" for end in ends]
    return told[0] if len(told) == 1 else f"{', '.join(told[:-1])}, and {told[-1]}"


def _past(end: NeedEnd) -> str:
    if end.reason is Reason.NEEDS_NOT_MET:
        return "was not run"
    if end.status in ("canceled", "skipped"):
        return f"was {end.status}"
    return end.status
