"""Running steps, as others are told of them."""

from __future__ import annotations

from dataclasses import dataclass

from flowd.domain.definition import Definition
from flowd.domain.run import Attempt


@dataclass(frozen=True, slots=True)
class RunningStep:
    """A running step, for those who ask what is going on.

    Attributes:
        age_s: Since its start; changes of the wall clock since the daemon's own start do not count.
    """

    run_id: str
    flow_name: str
    step_name: str
    attempt_number: int
    started_at_ms: int
    age_s: float
    pid: int | None

    @classmethod
    def of(cls, attempt: Attempt, definition: Definition, *, age_ms: int) -> RunningStep:
        """The running step of an attempt."""
        return cls(
            run_id=attempt.run_id,
            flow_name=definition.flow_name,
            step_name=definition.step_name,
            attempt_number=attempt.number,
            started_at_ms=attempt.started_at_ms,
            age_s=age_ms / 1000,
            pid=attempt.pid,
        )

    @property
    def label(self) -> str:
        """``flow/step``."""
        return f"{self.flow_name}/{self.step_name}"
