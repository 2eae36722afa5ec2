"""Tells which errors of flowd's own files pass by themselves; a step that could not start is not at fault then."""

import errno

PASSING = frozenset({
    errno.ENOSPC, errno.EDQUOT,  # the disk is full
    errno.EACCES, errno.EPERM, errno.EROFS,  # somebody made the folder read-only
    errno.ENOENT, errno.ENOTDIR,  # or removed it, or put something in its place
})  # fmt: skip
"""The run waits, the log says for what, and the same start works once that is over."""
