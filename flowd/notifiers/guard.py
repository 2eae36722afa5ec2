"""Runs one program for a notifier, and leaves nothing of it behind. Executed as a script; standard library only.

The daemon tells it on standard input what the program is to read, and keeps that open: when it closes, because the
daemon gives up or is gone, the program and all that it has started are ended. The guard is their subreaper, so whatever
they do to get away from their parents, they stay its descendants.

    guard.py SECONDS PROGRAM [ARGUMENT …]      stdin: a line with a number of bytes, then these
                                               stdout: one line of JSON, how it ended
"""

import ctypes
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from typing import Any

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_TAIL_BYTES = 2_000
"""Of what it prints, the end; the rest is read and dropped, so that a flood fills nothing."""

_GRACE_S = 1.0
"""Between SIGTERM and SIGKILL."""

_KILL_S = 5.0
"""So long SIGKILL is repeated: what is left then is in the hands of the kernel."""

_LOOK_S = 0.02


def main() -> None:
    """Run it, and tell how it ended."""
    timeout_s, command = float(sys.argv[1]), sys.argv[2:]
    deadline_s = time.monotonic() + timeout_s
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    with tempfile.TemporaryFile() as given:
        given.write(_given(sys.stdin.buffer))
        given.seek(0)
        try:
            told = _run(command, given.fileno(), deadline_s)
        except OSError as error:
            told = {"error": error.strerror or str(error)}
    told["left"] = _end_all(told.pop("pid", None))
    with suppress(OSError):  # the daemon is gone
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()


def _given(stream: Any) -> bytes:
    size = int(stream.readline())
    return bytes(stream.read(size))


def _run(command: list[str], stdin: int, deadline_s: float) -> dict[str, Any]:
    tail = bytearray()
    with subprocess.Popen(
        command,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=_die_with_parent,  # noqa: PLW1509 - there is one thread
    ) as process:
        assert process.stdout is not None
        pipe = process.stdout.fileno()
        os.set_blocking(pipe, False)
        is_late = is_alone = False
        with selectors.DefaultSelector() as selector:
            selector.register(sys.stdin, selectors.EVENT_READ, "daemon")
            selector.register(pipe, selectors.EVENT_READ, "output")
            look_s = 60.0 if _watch(selector, process.pid) else _LOOK_S
            while process.poll() is None and not is_alone and not is_late:
                left_s = deadline_s - time.monotonic()
                is_late = left_s <= 0
                for key, _ in selector.select(min(max(0.0, left_s), look_s)):
                    if key.data == "daemon":
                        is_alone = True
                    elif key.data == "output" and not _drain(pipe, tail):
                        selector.unregister(pipe)
            _drain(pipe, tail)
        if is_late or is_alone:
            _end_all(process.pid)
        code = process.wait()
    return {
        "pid": process.pid,
        "code": code if code >= 0 else None,
        "signal": -code if code < 0 and not is_late else None,
        "late": is_late,
        "output": tail.decode("utf-8", "replace"),
    }


def _watch(selector: selectors.BaseSelector, pid: int) -> bool:
    """Let the selector wake when the process has ended. False where the kernel cannot tell."""
    with suppress(OSError, AttributeError):
        selector.register(os.pidfd_open(pid), selectors.EVENT_READ, "end")
        return True
    return False


def _drain(pipe: int, tail: bytearray) -> bool:
    """Read what is there, and not for long. False at its end."""
    for _ in range(16):
        try:
            data = os.read(pipe, 65_536)
        except BlockingIOError:
            return True
        if not data:
            return False
        tail += data
        del tail[:-_TAIL_BYTES]
    return True


def _end_all(leader: int | None) -> int:
    """End every descendant: kindly, then not. How many resist. Without /proc, only the leader's group is known."""
    if not os.path.isdir("/proc/self"):
        with suppress(OSError, TypeError):
            os.killpg(leader, signal.SIGKILL)  # type: ignore[arg-type]
        return 0
    kind_until_s = time.monotonic() + _GRACE_S
    until_s = kind_until_s + _KILL_S
    asked: set[int] = set()
    while alive := _descendants():
        now_s = time.monotonic()
        if now_s >= until_s:
            break
        for pid in alive:
            if now_s >= kind_until_s or pid not in asked:
                asked.add(pid)
                with suppress(OSError):
                    os.kill(pid, signal.SIGKILL if now_s >= kind_until_s else signal.SIGTERM)
        time.sleep(_LOOK_S)
    return len(alive)


def _descendants() -> list[int]:
    """Those that are alive. Orphans among them are our children."""
    parents: dict[int, int] = {}
    for name in filter(str.isdecimal, os.listdir("/proc")):
        with suppress(OSError, IndexError, ValueError):
            with open(f"/proc/{name}/stat", "rb") as file:
                state, parent = file.read().rpartition(b")")[2].split()[:2]
            if state not in (b"Z", b"X"):
                parents[int(name)] = int(parent)
    found, new = [], [os.getpid()]
    while new:
        new = [pid for pid, parent in parents.items() if parent in new]
        found += new
    return found


def _die_with_parent() -> None:
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _prctl(option: int, value: int) -> None:
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    main()
