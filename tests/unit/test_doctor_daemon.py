"""What the doctor says of a daemon that replies."""

from typing import Any

import pytest

from flowd import __version__
from flowd.doctor.daemon_process import is_well
from flowd.observe import installed


def said(**more: Any) -> dict[str, Any]:
    return {"state": "ready", "version": __version__, "pid": 7, **more}


def test_a_daemon_from_before_the_installation_may_be_of_other_code_though_the_version_is_the_same() -> None:
    found = is_well(said(uptimeMs=60_000), installed_at_s=950.0, now_s=1_000.0)
    assert found.level == "warn"
    assert "installed after the daemon had started" in found.found
    assert found.remedy.startswith("Restart the daemon")


@pytest.mark.parametrize(
    ("uptime_ms", "installed_at_s"), [(60_000, 930.0), (60_000, None), (None, 950.0)], ids=["later", "whenever", "old"]
)
def test_a_daemon_from_after_it_is_well_and_so_is_one_of_which_that_cannot_be_told(
    uptime_ms: int | None, installed_at_s: float | None
) -> None:
    assert is_well(said(uptimeMs=uptime_ms), installed_at_s, now_s=1_000.0).level == "ok"


def test_the_time_of_the_installation_is_known() -> None:
    assert installed.installed_at_s() is not None
