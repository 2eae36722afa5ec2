"""How steps ended, for tests to look at."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

_GOOD = ("completed", "changed", "skipped")


@dataclass(frozen=True)
class StepReport:
    """How a step ended.

    Attributes:
        flow: The flow's name.
        step: The step's name.
        status: What the step said where that counts (``completed``, ``changed``, ``skipped``, ``needs_intervention``,
            ``blocked``, ``failed``), else what flowd saw (``failed``; ``queued`` where it waits for a person's answer).
        result: All that it said; empty where it said nothing that counts.
        reason: Why it ended other than well: ``exit``, ``no_result``, ``timeout`` …; None where it did not.
        error: The same as a sentence.
        exit_code: None where it did not start, or a signal ended it.
        attempts: How many there were.
        output: What its last attempt printed, both streams in the order in which flowd read them; each alone is
            ``stdout`` and ``stderr``.
        sent: Events that it sent by a client, the command ``flowd`` or the socket. They start nothing.
    """

    flow: str
    step: str
    status: str
    result: Mapping[str, Any]
    reason: str | None = None
    error: str | None = None
    exit_code: int | None = None
    attempts: int = 1
    output: str = field(default="", repr=False)
    stdout: str = field(default="", repr=False)
    stderr: str = field(default="", repr=False)
    sent: tuple[Mapping[str, Any], ...] = ()

    @property
    def ok(self) -> bool:
        """It is not failed, and asks nobody."""
        return self.status in _GOOD

    @property
    def message(self) -> str | None:
        """What it said for people."""
        message: str | None = self.result.get("message")
        return message

    @property
    def next(self) -> list[dict[str, Any]]:
        """The events that its result names, as it named them. They start nothing."""
        return list(self.result.get("next", ()))


class RoundReport(Mapping[str, StepReport]):
    """How the steps of a round ended, by their names, in the order of flow.toml; without those that the event does not
    match."""

    def __init__(self, steps: Mapping[str, StepReport]) -> None:
        self._steps = dict(steps)

    def __getitem__(self, step: str) -> StepReport:
        try:
            return self._steps[step]
        except KeyError:
            ran = ", ".join(self._steps) or "none"
            raise KeyError(f"{step!r} is not in this round; the steps that the event matches: {ran}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._steps)

    def __len__(self) -> int:
        return len(self._steps)

    def __repr__(self) -> str:
        return f"RoundReport({self.statuses!r})"

    @property
    def ok(self) -> bool:
        """At least one step ran, none failed, and none asks anybody."""
        return bool(self._steps) and all(report.ok for report in self._steps.values())

    @property
    def statuses(self) -> dict[str, str]:
        """How each ended, for a test to compare at once."""
        return {name: report.status for name, report in self._steps.items()}

    @property
    def next(self) -> list[dict[str, Any]]:
        """The events that their results name."""
        return [event for report in self._steps.values() for event in report.next]
