"""After `systemctl reboot`, which stops services in order."""

from collections.abc import Callable

import pytest
from vm.reboot import stage

Seen = Callable[[str], None]


@pytest.mark.parametrize("kind", ["system", "user"])
def test_a_reboot_stops_what_runs_and_loses_nothing(kind: str, seen: Seen) -> None:
    place = stage.place(kind)
    stopped = stage.check(kind, place)
    for run in stopped.values():
        assert (run["processStatus"], run["attemptCount"]) == ("canceled", 1)
    error = next(iter(stopped.values()))["error"]
    seen(f"up by itself; 3 completed kept, {stage.QUEUED} queued ran once, {stage.RUNNING} running: {error}")
    stage.prepare(kind, place)
