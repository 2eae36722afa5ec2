"""The journal as flowd's log, while it runs and while it does not."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from daemon_rig import say, until
from systemd_rig import Box, Service, findings

Make = Callable[..., Service]


@contextmanager
def stopped_journal(box: Box) -> Iterator[None]:
    box.systemctl("kill", "--signal=STOP", "systemd-journald")
    try:
        yield
    finally:
        box.systemctl("kill", "--signal=CONT", "systemd-journald")


def test_a_journal_that_is_stopped_stops_nobody_and_gets_all_later(box: Box, service: Make) -> None:
    place = service()
    place.flow("quick", say("changed"))
    place.systemctl("start")
    with stopped_journal(box):
        # The kernel keeps 512 of its messages; each run is three.
        runs = place.dispatch("quick.go", count=250)
        until(lambda: place.call("daemon.status")["runs"]["completed"] == 250, what="the end of all runs")
        (trouble,) = place.call("daemon.status")["troubles"]
        assert (trouble["what"], " 0 wait" in trouble["problem"]) == ("log", False)
        assert findings(box, place.path)["daemon.log"]["level"] == "warn"
    until(lambda: "troubles" not in place.call("daemon.status"), what="a log that is well again")
    until(lambda: len(box.journal(f"FLOWD_RUN_ID={runs[-1]}")) == 3, what="the last run's entries")
    assert len({entry["FLOWD_RUN_ID"] for entry in box.journal("MESSAGE_ID=3fcb9d04ab6c4d1e8c4f9b1f6f0f1a13")}) >= 250


def test_a_line_that_is_logged_while_the_journals_socket_is_away_ends_no_log(box: Box, service: Make) -> None:
    place = service()
    place.flow("quick", say("changed"))
    place.systemctl("start")
    box.run("mv", "/run/systemd/journal/socket", "/run/systemd/journal/away")
    try:
        away = place.dispatch("quick.go")[0]
        until(lambda: "troubles" in place.call("daemon.status"), what="word of it")
    finally:
        box.run("mv", "/run/systemd/journal/away", "/run/systemd/journal/socket")
    until(lambda: len(box.journal(f"FLOWD_RUN_ID={away}")) == 3, what="the entries of that time")
