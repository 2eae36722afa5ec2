"""The keeper's memory: what is read back after a crash at any byte."""

import os
from pathlib import Path

import pytest

from flowd.keeper.journal import EMPTY_AT_BYTES, UNKNOWN_KEEPERS, Journal, entries, keepers_of, load
from flowd.keeper.protocol import dumps

BEGIN = {"op": "begin", "id": "a", "mark": "a@x"}
STARTED = {"op": "started", "id": "a", "pid": 7, "start": 1, "boot": "b"}
CAUSE = {"op": "cause", "id": "a", "cause": "timeout"}
EXIT = {"op": "exit", "id": "a", "code": 3}
WHOLE = [BEGIN, STARTED, CAUSE, EXIT]


def write(path: Path) -> bytes:
    journal = Journal(str(path))
    for entry in WHOLE:
        journal.record(entry)
    return path.read_bytes()


def test_a_crash_at_any_byte_loses_at_most_the_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    data = write(path)
    for size in range(len(data) + 1):
        path.write_bytes(data[:size])
        attempts, bad_lines = load(str(path))
        # A line is whole with its last brace; the newline after it may be missing.
        whole = sum(1 for end in range(1, size + 1) if data[end - 1 : end] == b"}")
        assert entries(attempts) == WHOLE[:whole]
        assert bad_lines == (0 if size == 0 or data[size - 1 : size] in b"}\n" else 1)


def test_writing_goes_on_after_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_bytes(b'{"op":"begin","id":"torn"')
    assert Journal(str(path)).write_ahead(BEGIN) is None
    assert load(str(path)) == ({"a": {"begin": BEGIN}}, 1)


def test_the_first_exit_stays_and_what_is_forgotten_or_refused_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    write(path)
    journal = Journal(str(path))
    journal.record({**EXIT, "code": 9})
    assert load(str(path))[0]["a"]["exit"] == EXIT
    journal.record({"op": "forget", "ids": ["a", "unknown"]})
    journal.record({"op": "begin", "id": "b"})
    journal.record({"op": "refused", "id": "b"})
    journal.record({"op": "of a newer version", "id": "b"})
    journal.record(EXIT)
    assert load(str(path)) == ({}, 0)


def test_a_missing_journal_is_an_empty_one(tmp_path: Path) -> None:
    assert load(str(tmp_path / "none")) == ({}, 0)


def test_rewriting_keeps_what_is_asked_and_is_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = Journal(str(path))
    for _ in range(2000):
        journal.record({"op": "forget", "ids": ["x" * 30]})
    assert journal.size_bytes > EMPTY_AT_BYTES
    journal.compact([BEGIN])  # something is left, and it is not large enough for that
    assert path.stat().st_size == journal.size_bytes > EMPTY_AT_BYTES
    journal.compact([])
    assert path.stat().st_size == journal.size_bytes < 100
    journal.rewrite([BEGIN])
    journal.record(STARTED)
    assert load(str(path)) == ({"a": {"begin": BEGIN, "started": STARTED}}, 0)
    assert os.listdir(tmp_path) == ["journal"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_on_a_full_disk_an_intention_fails_and_a_fact_is_kept_for_later(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = Journal(str(path))
    links = {int(fd): os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")}
    (full,) = (fd for fd, link in links.items() if link == str(path))
    device = os.open("/dev/full", os.O_WRONLY)
    os.dup2(device, full)
    os.close(device)
    failure = journal.write_ahead(BEGIN)
    assert failure is not None
    assert failure.errno == 28
    journal.record(STARTED)
    room = os.open(tmp_path / "room", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(room, full)
    os.close(room)
    journal.record(EXIT)
    assert (tmp_path / "room").read_text().split("\n")[-3:] == [dumps(STARTED), dumps(EXIT), ""]


def test_a_journal_that_was_emptied_under_its_keeper_names_nobody_whatever_comes_into_it_then(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = Journal(str(path))
    journal.sign("keeper-a")
    journal.record(BEGIN)
    assert keepers_of(str(path)) == ["keeper-a"]
    os.truncate(path, 0)
    journal.record(STARTED)
    assert keepers_of(str(path)) == []


@pytest.mark.parametrize("first", [{"op": "journal", "v": 1}, BEGIN])
def test_a_journal_from_before_they_named_their_keepers_may_be_of_any(tmp_path: Path, first: dict[str, object]) -> None:
    path = tmp_path / "journal"
    path.write_text(f"{dumps(first)}\n{dumps(STARTED)}\n")
    assert keepers_of(str(path)) == [UNKNOWN_KEEPERS]
