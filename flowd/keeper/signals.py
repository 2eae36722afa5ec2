"""Signals as bytes in a pipe, so that the keeper's loop wakes for them and nothing is interrupted."""

from __future__ import annotations

import os
import signal


def caught() -> int:
    """Ignore what must not end the keeper, and catch SIGCHLD and SIGTERM: each is a byte to be read from this
    descriptor, its number."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)
    os.set_blocking(write_end, False)
    signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    return read_end
