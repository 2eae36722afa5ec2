"""Calls back in the loop at a signal, however busy the loop is."""

import asyncio
import signal
from collections.abc import Callable


def call_at(number: int, callback: Callable[..., object], *args: object) -> None:
    """Call back in the running loop at each such signal.

    `asyncio.loop.add_signal_handler` learns of a signal by a byte in the loop's own pipe. Where threads have woken a
    busy loop some hundred times that pipe is full, and the signal is lost. So that byte only wakes the loop here,
    which a full pipe does as well, and a handler of Python, which the interpreter always calls, says what is to be
    done.
    """
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(number, lambda: None)
    signal.set_wakeup_fd(signal.set_wakeup_fd(-1), warn_on_full_buffer=False)
    signal.signal(number, lambda *_: loop.call_soon_threadsafe(callback, *args))
