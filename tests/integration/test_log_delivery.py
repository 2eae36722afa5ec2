"""Whoever logs is never held up by the place where the log goes, and nothing that could go out later is lost."""

import json
import logging
import os
import pty
import socket
import subprocess
import sys
import tty
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from daemon_rig import until

from flowd.observe import delivery, logs
from flowd.observe.delivery import Delivery
from flowd.observe.journal import JournalOutlet
from flowd.observe.stream import StreamOutlet

LINES = 6_000
"""More than a pipe and the queue hold."""


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("flowd")
    before = root.handlers[:], root.level, ours.level
    yield
    logs_own = [handler for handler in root.handlers if handler not in before[0]]
    root.handlers[:], root.level, ours.level = before
    for handler in logs_own:
        handler.close()


def log_numbers(count: int = LINES) -> None:
    log = logging.getLogger("flowd.test")
    for number in range(count):
        log.info("number", extra={"number": number, "filler": "x" * 200})


def read_lines(fd: int, *, until_event: str | None = None) -> list[dict[str, Any]]:
    """Lines as they come, until one of this event, or the last number."""
    buffer, told = b"", []
    while True:
        buffer += os.read(fd, 1 << 16)
        *lines, buffer = buffer.replace(b"\r\n", b"\n").split(b"\n")
        told += [json.loads(line) for line in lines if line]
        if any(line["event"] == until_event or line.get("number") == LINES - 1 for line in told):
            return told


def check_account(told: list[dict[str, Any]]) -> None:
    numbers = [line["number"] for line in told if line["event"] == "number"]
    dropped = sum(line["dropped"] for line in told if line["event"] == "log entries dropped")
    assert numbers == sorted(numbers)
    assert numbers[0] == 0
    assert dropped > 0
    assert len(numbers) + dropped == LINES


def stderr_to(fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", open(fd, "w", closefd=False))  # noqa: SIM115
    monkeypatch.setattr(delivery, "MAX_WAITING_BYTES", 1 << 16)


@pytest.mark.parametrize("can_reopen", [True, False])
def test_a_pipe_that_nobody_reads_stops_nobody(monkeypatch: pytest.MonkeyPatch, *, can_reopen: bool) -> None:
    reading, writing = os.pipe()
    stderr_to(writing, monkeypatch)
    with monkeypatch.context() as patch:
        if not can_reopen:  # as on macOS, and where the pipe is another user's
            real = os.open
            patch.setattr(
                "flowd.observe.stream.os.open",
                lambda path, *rest: real(f"{path}.not" if str(path).startswith("/proc/self/fd") else path, *rest),
            )
        logs.configure("json", "info")
    log_numbers()
    assert "wait: " in (logs.trouble() or "")
    assert os.get_blocking(writing)  # which is not ours alone
    check_account(read_lines(reading, until_event="log entries dropped"))
    until(lambda: "0 wait" in (logs.trouble() or ""), what="an empty queue")
    os.close(reading)
    os.close(writing)


def test_a_stream_socket_that_nobody_reads_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        stderr_to(ours.fileno(), monkeypatch)
        logs.configure("json", "info")
        log_numbers()
        check_account(read_lines(theirs.fileno(), until_event="log entries dropped"))


def test_a_stopped_terminal_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    master, slave = pty.openpty()
    tty.setraw(slave)
    stderr_to(slave, monkeypatch)
    logs.configure("json", "info")
    log_numbers()
    check_account(read_lines(master, until_event="log entries dropped"))
    os.close(master)
    os.close(slave)


def test_a_full_disk_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/dev/full").open("w") as full:
        stderr_to(full.fileno(), monkeypatch)
        logs.configure("json", "info")
        log_numbers()
        assert "No space left on device" in (logs.trouble() or "")
    assert not isinstance(logging.getLogger().handlers[0], logging.StreamHandler)


def journal_socket(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(str(path))
    listener.settimeout(10)
    return listener


def entries(listener: socket.socket, last: str) -> list[bytes]:
    found: list[bytes] = []
    while not found or last.encode() not in found[-1]:
        found.append(listener.recv(1 << 16))
    return found


def journal_log(path: Path) -> logging.Logger:
    log = logging.getLogger("flowd.test")
    log.setLevel(logging.INFO)
    logging.getLogger().handlers[:] = [Delivery(JournalOutlet(str, path))]
    return log


def test_a_journal_that_does_not_run_stops_nobody(tmp_path: Path) -> None:
    with journal_socket(tmp_path / "j") as listener:
        log_numbers(0)
        log = journal_log(tmp_path / "j")
        for number in range(2_000):
            log.info("number", extra={"number": number})
        log.info("last")
        told = entries(listener, "MESSAGE=last")
    assert [b"MESSAGE=number number=%d\n" % number in entry for number, entry in enumerate(told[:-1])] == [True] * 2_000
    assert b"FLOWD_LOGGED_AT=" not in told[0]
    assert b"FLOWD_LOGGED_AT=20" in told[-1]


def test_a_journal_whose_socket_was_away_gets_what_was_logged_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "j"
    log = journal_log(path)
    log.info("before it is there")
    with journal_socket(path) as listener:
        assert len(entries(listener, "MESSAGE=before it is there")) == 1
    log.info("its reader has gone")
    path.unlink()
    log.info("its socket has gone")
    with journal_socket(path) as listener:
        log.info("it is back")
        assert len(entries(listener, "MESSAGE=it is back")) == 3


def test_a_value_that_cannot_be_shown_is_told_and_stops_nobody(tmp_path: Path) -> None:
    class Odd:
        def __str__(self) -> str:
            raise ValueError("no text")

    log = journal_log(tmp_path / "j")
    log.info("odd", extra={"value": Odd()})
    assert logs.trouble() == "1 log entries were lost and 0 wait: ValueError in 'odd'"


def test_the_end_of_a_process_waits_for_its_last_lines_and_not_for_ever(tmp_path: Path) -> None:
    script = (
        "import logging, sys; from flowd.observe import logs; logs.configure('json', 'info')\n"
        "for number in range(2000): logging.getLogger('flowd.x').info('number', extra={'number': number})"
    )
    done = subprocess.run([sys.executable, "-c", script], stderr=subprocess.PIPE, check=True, timeout=30)
    assert [json.loads(line)["number"] for line in done.stderr.splitlines()] == list(range(2000))
    reading, writing = os.pipe()  # nobody reads
    subprocess.run([sys.executable, "-c", script], stderr=writing, check=True, timeout=30)
    os.close(reading)
    os.close(writing)


@pytest.mark.parametrize("kind", ["file", "pipe"])
def test_no_line_goes_to_a_file_that_has_got_the_number_of_a_closed_stream(tmp_path: Path, kind: str) -> None:
    """That file may be a database: one byte at its beginning, and it is none any more."""
    if kind == "file":
        read_end, number = -1, os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)
    else:
        read_end, number = os.pipe()
    with open(number, "w") as stream:
        outlet = StreamOutlet(stream, logging.Formatter())
    other = os.open(tmp_path / "database", os.O_RDWR | os.O_CREAT)
    os.dup2(other, number)
    outlet.send(b"while it is open\n")
    outlet.close()
    with pytest.raises(OSError, match="closed"):
        outlet.send(b"after its end\n")
    assert (tmp_path / "database").read_bytes() == b""
    for fd in {other, number} | ({read_end} if read_end >= 0 else set()):
        os.close(fd)
