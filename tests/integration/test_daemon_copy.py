"""What the tests take for a daemon or a command is one: a copy differs in nothing from a process that was executed."""

import contextlib
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from command_copy import run_flowd
from daemon_copy import CopiedProcess, may_copy
from daemon_rig import Workspace


def test_a_copy_is_to_the_system_what_an_executed_daemon_is(place: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EXECUTE_DAEMONS", raising=False)
    told = {"FLOWD_LOG_FORMAT": "json", "OF_THIS_TEST": "ä \udcff"}
    place.start(**told)
    assert isinstance(place.process, CopiedProcess)
    copied = _seen(place.process.pid)
    assert place.stop() == 0
    monkeypatch.setenv("EXECUTE_DAEMONS", "1")
    place.start(**told)
    assert not isinstance(place.process, CopiedProcess)
    executed = _seen(place.process.pid)
    assert executed["environ"].pop(b"EXECUTE_DAEMONS") == b"1"
    assert copied == executed
    assert copied["environ"][b"OF_THIS_TEST"] == "ä \udcff".encode(errors="surrogateescape")


def test_a_copy_exits_and_prints_as_an_executed_command_does(place: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    place.flow("work", "echo out; echo err >&2; exit 3")
    place.start()
    event = b'{"id": "e", "type": "work.go", "payload": {}}'
    assert run_flowd("dispatch", "-", "--wait", "-w", place.path, stdin=event).returncode == 1
    commands = (["logs", "@last"], ["run", "@last"], ["runs", "--json"], ["validate"], ["nonsense"], ["runs", "-h"], [])
    seen = []
    for executed in ("", "1"):
        monkeypatch.setenv("EXECUTE_DAEMONS", executed)
        told = [run_flowd(*words, cwd=place.path) for words in commands]
        told += [run_flowd("dispatch", "-", stdin=event, cwd=place.path)]
        told += [run_flowd("logs", "@last", cwd=place.path, is_one_stream=True)]
        assert {each.args[0] for each in told} == {sys.executable if executed else "flowd"}
        seen.append([(each.returncode, each.stdout, each.stderr) for each in told])
    assert seen[0] == seen[1]
    assert seen[0][0] == (0, "out\n", "err\n")
    assert seen[0][-1][1:] == ("out\nerr\n", None)


def test_what_is_read_before_the_daemon_is_imported_has_it_executed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EXECUTE_DAEMONS", raising=False)
    assert may_copy({**os.environ, "FLOWD_HTTP": "127.0.0.1:0", "HOME": "/nowhere"})
    assert not may_copy({**os.environ, "LD_PRELOAD": "shim.so"})
    assert not may_copy({**os.environ, "PYTHONPATH": "elsewhere"})


def _seen(pid: int) -> dict[str, Any]:
    """What /proc tells of a process that does not depend on when it was looked at."""
    proc = Path("/proc", str(pid))
    status = dict(line.split(":\t", 1) for line in (proc / "status").read_text().splitlines())
    environ = (proc / "environ").read_bytes().rstrip(b"\0").split(b"\0")
    return {
        "argv": (proc / "cmdline").read_bytes().rstrip(b"\0"),
        "environ": dict(pair.split(b"=", 1) for pair in environ),
        "folder": os.readlink(proc / "cwd"),
        "limits": (proc / "limits").read_text(),
        "group": (os.getpgid(pid), os.getsid(pid)),
        "first descriptors": [os.readlink(proc / "fd" / str(number)) for number in range(3)],
        "files": _files(proc),
        **{name: status[name] for name in ("Umask", "Uid", "Gid", "Groups", "SigBlk", "SigIgn", "SigCgt")},
    }


def _files(proc: Path) -> set[str]:
    """The files that it has open, those of the database left out: there may be one more at any time."""
    found = set()
    for descriptor in (proc / "fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            if (target := os.readlink(descriptor)).startswith("/") and "flowd.db" not in target:
                found.add(target)
    return found
