"""Recognises a step's leader by the arguments that it was executed with.

Its mark is not enough, because children inherit it. A process that still has those arguments is the leader, unless it
was forked from the leader, which the kernel shows. A leader that has executed another program with other arguments, or
has changed its command line, cannot be distinguished from a child.
"""

from __future__ import annotations

import binascii
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_PF_FORKNOEXEC = 0x40
"""Forked, and has executed nothing since (linux/sched.h; field 9 of /proc/<pid>/stat)."""


def imprint(argv: Sequence[str]) -> list[int]:
    """The length and checksum of arguments as the kernel keeps them: enough to recognise them, not to read them.

    The program's own name counts only where it is all there is: wrappers execute another one with the same arguments.

    >>> imprint(["/bin/sh", "-c", "true"]) == imprint(["/opt/bin/sh", "-c", "true"])
    True
    """
    data = b"".join(os.fsencode(word) + b"\0" for word in (argv[1:] or argv))
    return [len(data), binascii.crc32(data)]


def matches(pid: int, expected: Sequence[int]) -> bool:
    """Whether a process was executed with the arguments of an `imprint`. False as well where /proc cannot be read."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            cmdline = file.read()
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            flags = int(file.read().rpartition(b")")[2].split()[6])
    except OSError:
        return False
    length, checksum = expected
    # In front are the program, and of a script its interpreter.
    before, data = cmdline[:-length], cmdline[-length:]
    return not flags & _PF_FORKNOEXEC and before[-1:] in (b"", b"\0") and binascii.crc32(data) == checksum
