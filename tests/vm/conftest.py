"""What the checks in ``guest`` and ``reboot`` have in common. They are for the machine that `make vm` boots."""

import os
from collections.abc import Callable, Iterator

import pytest
from vm.rig import FLOWD, Service

collect_ignore = [] if "FLOWD_IN_VM" in os.environ else ["guest", "reboot"]

Seen = Callable[[str], None]


@pytest.fixture
def seen(record_property: Callable[[str, object], None]) -> Seen:
    """Puts a line of what was seen below the check in the table."""
    return lambda text: record_property("seen", text)


@pytest.fixture(scope="module")
def service() -> Iterator[Callable[..., Service]]:
    """Makes workspaces for services, which are uninstalled in the end. An install takes its time without KVM."""
    made: list[Service] = []

    def make(path: str, *, user: str = "", run_as: str = "", flowd: str = FLOWD) -> Service:
        made.append(Service(path, user=user, run_as=run_as, flowd=flowd))
        return made[-1]

    yield make
    for each in made:
        print(each.log()[-6000:])
        each.uninstall()
