"""What a step's process does to itself before its program begins: its cgroup, rlimits, niceness and umask."""

from __future__ import annotations

import os
import resource
from functools import partial

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Confinement:
    """How one step is confined before its program begins.

    Attributes:
        cgroup: The folder of the cgroup that it begins its life in; empty for the keeper's own.
        may_clone: Whether to try to make it there, instead of having it join.
        values: Of files in that cgroup.
        rlimits: Name of the limit, resource, soft and hard value, in the order they are to be set in.
        niceness: An absolute one; None leaves it.
        umask: None leaves it.
    """

    __slots__ = ("cgroup", "may_clone", "niceness", "rlimits", "umask", "values")

    def __init__(
        self, cgroup: str, *, may_clone: bool = True, niceness: int | None = None, umask: int | None = None
    ) -> None:
        self.cgroup = cgroup
        self.may_clone = may_clone
        self.values: dict[str, str] = {}
        self.rlimits: list[tuple[str, int, int, int]] = []
        self.niceness = niceness
        self.umask = umask

    def calls(self) -> Iterator[tuple[str, Callable[[], object]]]:
        """The system calls that the process makes to confine itself, by the limit's name."""
        if self.niceness is not None:
            yield "niceness", partial(os.setpriority, os.PRIO_PROCESS, 0, self.niceness)
        if self.umask is not None:
            yield "umask", partial(os.umask, self.umask)
        for name, number, soft, hard in self.rlimits:
            yield name, partial(resource.setrlimit, number, (soft, hard))
