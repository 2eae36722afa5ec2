"""Finds out who calls."""

import asyncio
import os
import pwd
from contextlib import suppress

from flowd.domain.people import Person


async def at_socket(uid: int | None) -> Person:
    """The user at the other end of the control socket; with an unknown ``uid`` nobody in particular."""
    return Person("socket", uid, None if uid is None else await _user_name(uid))


async def of_this_process() -> Person:
    """The user of a local client, whose engine is in its own process."""
    uid = os.geteuid()
    return Person("local", uid, await _user_name(uid))


async def _user_name(uid: int) -> str | None:
    return await asyncio.to_thread(_look_up, uid)  # it may ask a directory in the network


def _look_up(uid: int) -> str | None:
    with suppress(KeyError):
        return pwd.getpwuid(uid).pw_name
    return None
