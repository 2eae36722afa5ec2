"""Keeps steps from inheriting what protects the daemon and the keeper from the out-of-memory killer."""

from __future__ import annotations

import os

_FILE = "/proc/self/oom_score_adj"


class Protection:
    """Takes the protection that a unit's ``OOMScoreAdjust=`` gave us off for the moment of a fork.

    Who was given one by root may take it off and put it on again without a privilege (proc(5)). Where we have none,
    nothing happens.
    """

    def __init__(self, path: str = _FILE) -> None:
        """Read what we were given, and keep the file open: it is written twice for each step."""
        self._fd = -1
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:  # not on Linux, or not ours to write
            return
        self._own = os.read(fd, 16).strip()
        if self._own.startswith(b"-"):
            self._fd = fd
        else:
            os.close(fd)

    def take_off(self) -> None:
        """What is forked now has none."""
        self._write(b"0")

    def put_on(self) -> None:
        """We have it again."""
        if self._fd >= 0:
            self._write(self._own)

    def _write(self, value: bytes) -> None:
        if self._fd >= 0:
            try:
                os.pwrite(self._fd, value, 0)
            except OSError:
                pass  # a step that is protected is better than none
