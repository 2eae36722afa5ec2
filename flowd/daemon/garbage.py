"""Tunes Python's garbage collector for a process that serves for long."""

import gc

_OBJECTS = 10_000
"""Made and not freed before the collector looks at the youngest; with Python's 700 it takes 2 % of the loop's time."""

_YOUNGEST, _YOUNG = 5, 200
"""Collections of the youngest objects before one of those that outlived them, and of these before one of all. Nobody
has a turn during a collection, and one object takes it 1 µs: so the second kind, of 50,000 objects, takes 50 ms."""


def settle() -> None:
    """To be called once all is there that stays. What a run leaves behind is mostly freed without the collector."""
    gc.freeze()
    gc.set_threshold(_OBJECTS, _YOUNGEST, _YOUNG)
