"""After a power cut, as far as a running kernel can have one."""

from collections.abc import Callable

import pytest
from vm.reboot import stage

Seen = Callable[[str], None]


@pytest.mark.parametrize("kind", ["system", "user"])
def test_a_power_cut_interrupts_what_runs_and_loses_nothing(kind: str, seen: Seen) -> None:
    interrupted = stage.check(kind, stage.place(kind))
    for run in interrupted.values():
        assert (run["processStatus"], run["reason"], run["attemptCount"]) == ("failed", "interrupted", 1)
    error = next(iter(interrupted.values()))["error"]
    seen(f"up by itself; 3 completed kept, {stage.QUEUED} queued ran once, {stage.RUNNING} running: {error}")
