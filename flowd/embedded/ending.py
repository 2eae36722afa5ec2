"""Ends a program of asyncio on the signals that tell it to."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import TypeVar

T = TypeVar("T")


async def until_told_to_end(work: Coroutine[None, None, T]) -> T:
    """The result of some work, which SIGINT, SIGTERM and SIGHUP cancel, each time that they come: what it does to end
    is cancelled by a second one, and nothing else, as `asyncio.run` would have it.

    For the main task of a process; elsewhere signals are left as they are, and so are those that are ignored, as nohup
    has it.

    Raises:
        KeyboardInterrupt: It was cancelled so, and has ended.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    was_told = False

    def end() -> None:
        nonlocal was_told
        was_told = True
        task.cancel()

    handled = []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            try:
                loop.add_signal_handler(number, end)
            except (ValueError, RuntimeError):  # not in the main thread
                break
            handled.append(number)
    try:
        return await work
    except asyncio.CancelledError:
        if was_told:
            raise KeyboardInterrupt from None
        raise
    finally:
        for number in handled:
            loop.remove_signal_handler(number)
