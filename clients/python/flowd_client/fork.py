"""What becomes of connections and locks in a forked child: it has copies of both, and must use neither.

The copies of the parent's connections are closed, so that parent and child cannot read each other's responses, and the
daemon sees the parent hang up. A lock may have been copied while a thread held it that the child does not have.
"""

import os
from typing import Protocol
from weakref import WeakSet


class Copied(Protocol):
    """What a child has a copy of."""

    def forked(self) -> None:
        """Called in the child, where the calling thread is the only one."""
        ...


_copied: "WeakSet[Copied]" = WeakSet()
_generation = 0


def generation() -> int:
    """How many forks this process is away from the one that imported this: another number, another process."""
    return _generation


def tell(owner: Copied) -> None:
    """Tell an object in each child to come, for as long as it lives."""
    _copied.add(owner)


def _forked() -> None:
    global _generation  # noqa: PLW0603 - it is the process that it counts for
    _generation += 1
    copied = tuple(_copied)
    _copied.clear()  # who goes on in the child registers anew
    for owner in copied:
        owner.forked()


os.register_at_fork(after_in_child=_forked)
