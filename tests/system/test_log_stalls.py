"""A daemon whose log goes nowhere: its clients are answered all the same, and are told."""

import contextlib
import fcntl
import os
from collections.abc import Iterator

import pytest
from daemon_rig import Workspace, say, until, workspace


@pytest.fixture
def place() -> Iterator[Workspace]:
    with workspace() as made:
        yield made


def fill(fd: int) -> None:
    os.set_blocking(fd, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(fd, b"x" * 4096)
    os.set_blocking(fd, True)


def test_a_daemon_whose_stderr_nobody_reads_answers_tells_and_stops(place: Workspace) -> None:
    os.mkfifo(place.log_path)
    fd = os.open(place.log_path, os.O_RDWR)
    fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, 4096)
    fill(fd)
    place.log = lambda: ""  # type: ignore[method-assign] - of which a failure's message would wait
    place.flow("quick", say("changed"))
    place.start()
    with place.client() as client:
        answers = [client.dispatch_event({"id": f"e{number}", "type": "quick.go"}) for number in range(20)]
        ids = [run for answer in answers for run in answer.run_ids]
        assert len(ids) == 20
        assert [client.wait_run(run).effective_status for run in ids] == ["changed"] * 20
    (trouble,) = place.call("daemon.status")["troubles"]
    assert trouble["what"] == "log"
    assert " wait: " in trouble["problem"]
    told = bytearray()
    os.set_blocking(fd, False)

    def is_well() -> bool:
        with contextlib.suppress(BlockingIOError):
            told.extend(os.read(fd, 4096))
        return "troubles" not in place.call("daemon.status")

    until(is_well, what="a log that is well again")
    assert b'"event": "ready"' in told
    assert b'"event": "run ended"' in told
    fill(fd)
    assert place.stop() == 0
    os.close(fd)


def test_a_daemon_whose_log_is_on_a_full_disk_answers_and_tells(place: Workspace) -> None:
    place.log_path.symlink_to("/dev/full")
    place.log = lambda: ""  # type: ignore[method-assign]
    place.flow("quick", say("changed"))
    place.start()
    with place.client() as client:
        assert client.dispatch_event({"id": "e", "type": "quick.go"}, wait=True).runs[0].effective_status == "changed"
    (trouble,) = place.call("daemon.status")["troubles"]
    assert "No space left on device" in trouble["problem"]
    assert place.stop() == 0
