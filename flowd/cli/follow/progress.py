"""Leaves the lines out of a followed output that tell a step's progress: what follows shows how far it is otherwise."""

from flowd.domain.progress import TOKEN

_MAX_HELD_BYTES = 64 * 1024
"""Of a line that tells progress and does not end; what comes behind is shown."""


class WithoutProgress:
    r"""A stream's bytes, less the lines that begin with ``FLOW_PROGRESS``. Holds back only what may become such a line.

    >>> stream = WithoutProgress()
    >>> stream.feed(b"one\nFLOW_PRO"), stream.feed(b"GRESS {}\ntwo"), stream.end()
    (b'one\n', b'two', b'')
    """

    def __init__(self) -> None:
        self._held = b""
        self._is_in_line = False
        """What comes next goes on with a line that is shown."""

    def feed(self, data: bytes) -> bytes:
        """What is to be shown now."""
        *lines, rest = (self._held + data).split(b"\n")
        self._held = b""
        shown = [line + b"\n" for line in lines if self._shows(line)]
        if rest and not self._is_in_line and len(rest) < _MAX_HELD_BYTES and _may_tell_progress(rest):
            self._held = rest
        elif rest:
            shown.append(rest)
            self._is_in_line = True
        return b"".join(shown)

    def end(self) -> bytes:
        """What was held back, where it is no line of progress."""
        held, self._held = self._held, b""
        return b"" if held.startswith(TOKEN) else held

    def _shows(self, line: bytes) -> bool:
        is_shown = self._is_in_line or not line.startswith(TOKEN)
        self._is_in_line = False
        return is_shown


def _may_tell_progress(rest: bytes) -> bool:
    return rest.startswith(TOKEN) or TOKEN.startswith(rest)
