"""Two services with finished, running and queued runs, of the machine and of a user who lingers."""

import pytest
from vm.reboot import stage
from vm.rig import Service


@pytest.mark.parametrize("kind", ["system", "user"])
def test_services_are_at_work(kind: str) -> None:
    place: Service = stage.place(kind)
    place.install()
    place.restart_with(f"Environment=FLOWD_MAX_PARALLEL={stage.RUNNING}")
    stage.prepare(kind, place)
