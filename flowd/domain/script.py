"""What the kernel needs to see at the beginning of an executable file. No I/O."""

from typing import Final

HEAD_BYTES: Final = 512
"""More than any kernel reads of a ``#!`` line (Linux: 256)."""

_BINARY_MAGIC: Final = (b"\x7fELF", b"\xcf\xfa\xed\xfe", b"\xfe\xed\xfa\xcf", b"\xca\xfe\xba\xbe")


def head_problem(head: bytes) -> str | None:
    """Why no kernel can start a file that begins like this, and the remedy, as the rest of a sentence; None if one can.

    Args:
        head: The first `HEAD_BYTES` of it.

    >>> head_problem(b"#!/bin/sh\\r\\nexit 0\\r\\n")
    'has a #! line that ends in a carriage return; save it with Unix line ends'
    """
    if not head.startswith(b"#!"):
        if head.startswith(_BINARY_MAGIC) or b"\0" in head:
            return None
        return "has no #! line, so no program is named that runs it; begin it with, say, #!/bin/sh"
    first = head[2:].split(b"\n", 1)[0]
    if first.endswith(b"\r"):
        return "has a #! line that ends in a carriage return; save it with Unix line ends"
    if not first.decode("utf-8", "surrogateescape").split():
        return "has an empty #! line; name the program that runs it, say #!/bin/sh"
    return None
