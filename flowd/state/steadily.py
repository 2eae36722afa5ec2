"""Writes much to a disk without holding up those who wait for a little to be written."""

import os
import time

PIECE_BYTES = 256 * 1024
"""Written between two calls of `settle`. Whoever waits for a commit waits for what others have written, too, so it is
little; and each call costs, so it is not less."""


def settle(descriptor: int) -> None:
    """Bring to the disk what was written, and give others three times as long as that took."""
    began_s = time.monotonic()
    os.fdatasync(descriptor)
    time.sleep(3 * (time.monotonic() - began_s))
