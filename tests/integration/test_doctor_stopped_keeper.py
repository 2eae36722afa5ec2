"""`flowd doctor` where the keeper lives but was stopped by a signal."""

import os
import signal

import psutil
from daemon_rig import Workspace, until
from doctor_rig import doctor


def test_a_stopped_keeper_is_named_with_what_lets_it_go_on(place: Workspace) -> None:
    place.start()
    pid = place.keeper_pid()
    os.kill(pid, signal.SIGSTOP)
    until(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED, what="the stop")
    found = doctor(place.path, code=1)["by_check"]["keeper"]
    assert found["level"] == "fail"
    assert f"kill -CONT {pid}" in found["remedy"]
    os.kill(pid, signal.SIGCONT)
    assert doctor(place.path)["by_check"]["keeper"]["level"] == "ok"
    assert place.stop() == 0
