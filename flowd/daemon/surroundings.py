"""What the daemon finds where it is started: its limit of open files, and its terminal."""

import os
import resource
from contextlib import suppress


def raise_open_files() -> int:
    """Raise our soft limit to the hard one, because each running step costs a descriptor. The limit before, for steps:
    a program may take a higher one as leave to close millions of descriptors that are not open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # macOS refuses an unlimited one
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return soft


def has_terminal() -> bool:
    """Whether we have a controlling terminal, wherever our output goes. One that was closed is none any more."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True
