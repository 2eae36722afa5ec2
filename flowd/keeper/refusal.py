"""Why the keeper refuses to start a step, as a ``refused`` frame reports it to the daemon."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class RefusalError(Exception):
    """A start that was refused; nothing runs.

    Attributes:
        facts: ``what`` is one of cwd, program, interpreter, stdin, stdout, stderr, resource, limit, journal, ending,
            lease, unknown; ``path`` is where, for a limit its name; ``errno`` and ``error`` are the system's. A limit
            without an error is one that this system cannot keep at all.
    """

    def __init__(self, what: str, path: str, error: OSError | None = None) -> None:
        super().__init__(what, path)
        self.facts: dict[str, Any] = {"what": what, "path": path}
        if error is not None:
            self.facts |= {"errno": error.errno or 0, "error": error.strerror or str(error)}
