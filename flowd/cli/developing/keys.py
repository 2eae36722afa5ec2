"""Keys of a terminal, one by one and as they are pressed."""

import asyncio
import contextlib
import os
import signal
import sys
import termios
import tty
from collections.abc import Callable, Iterator

END = "\x04"
"""Ctrl-D, and the end of the terminal."""


def has_keys() -> bool:
    """Whether a person can press keys, and sees what comes of it."""
    return sys.stdin.isatty() and sys.stdout.isatty()


@contextlib.contextmanager
def pressed(take: Callable[[str], object]) -> Iterator[None]:
    """Call ``take`` in the running loop with each key, for the length of a block. Ctrl-C is a signal as ever. The
    terminal is as it was afterwards."""
    number = sys.stdin.fileno()
    before = termios.tcgetattr(number)
    loop = asyncio.get_running_loop()

    def read() -> None:
        try:
            data = os.read(number, 64)
        except OSError:
            data = b""
        if not data:
            loop.remove_reader(number)
        for key in data.decode("utf-8", "replace") or END:
            take(key)

    tty.setcbreak(number)
    loop.add_reader(number, read)
    loop.add_signal_handler(signal.SIGCONT, tty.setcbreak, number)  # the shell has had it meanwhile
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGCONT)
        loop.remove_reader(number)
        termios.tcsetattr(number, termios.TCSADRAIN, before)
