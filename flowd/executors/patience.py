"""Tries a start again that will likely work in a moment."""

from asyncio import sleep
from collections.abc import Awaitable, Callable
from typing import TypeVar

from flowd.domain.launching import BusyStartError

T = TypeVar("T")

_PAUSES_S = (0.02, 0.05, 0.1, 0.2, 0.3, 0.3)
"""A second in all."""


async def start(try_once: Callable[[], Awaitable[T]]) -> T:
    """What a start returns. Where it raises `BusyStartError`, it is tried again for a second.

    Raises:
        SpawnError: What is in the way stays there.
        NoRoomError: It is a shortage that stays.
    """
    for pause_s in _PAUSES_S:
        try:
            return await try_once()
        except BusyStartError:
            await sleep(pause_s)
    try:
        return await try_once()
    except BusyStartError as error:
        raise error.lasting() from None
