"""Which output of attempts is in files and not in rows, and what these files are called."""

from collections.abc import Iterator
from typing import NamedTuple

from flowd.domain.ids import attempt_id, file_name
from flowd.domain.shelf import Kept
from flowd.store.sql.connection import Connection

ENDINGS: dict[Kept, str] = {"stdout": ".stdout", "stderr": ".stderr", "order": ".stdout.order"}
"""Of the files of an attempt, as the keeper writes them (`flowd.keeper.recording`)."""


class Outside(NamedTuple):
    """A stream that is not in its attempt's row.

    Attributes:
        size: As its end has told, which may be more than what is kept; None while it runs, and of an order.
        at_ms: When it ended; None while it runs.
    """

    run_seq: int
    attempt_id: str
    number: int
    stream: Kept
    size: int | None
    at_ms: int | None

    @property
    def name(self) -> str:
        """Of its file."""
        return file_name(self.attempt_id) + ENDINGS[self.stream]

    @property
    def is_expected(self) -> bool:
        """Whether there has to be a file: not of what has printed nothing, nor of what needs no order."""
        return self.stream != "order" and self.at_ms is not None and bool(self.size)


def outside(db: Connection) -> Iterator[Outside]:
    """All streams that are not in rows, as far as there is anything of them: those of running attempts, too."""
    found = db.execute(
        "SELECT a.run_seq, r.id, a.number, a.completed_at_ms, a.stdout IS NULL, a.stderr IS NULL,"
        " a.stream_order IS NULL, a.stdout_bytes, a.stderr_bytes FROM attempts a JOIN runs r ON r.seq = a.run_seq"
        " WHERE a.stdout IS NULL OR a.stderr IS NULL OR a.stream_order IS NULL ORDER BY a.run_seq, a.number"
    )
    for run_seq, run_id, number, at_ms, no_stdout, no_stderr, no_order, stdout_bytes, stderr_bytes in found:
        lacks: tuple[tuple[Kept, bool, int | None], ...] = (
            ("stdout", no_stdout, stdout_bytes), ("stderr", no_stderr, stderr_bytes), ("order", no_order, None),
        )  # fmt: skip
        for stream, is_outside, size in lacks:
            if is_outside:
                yield Outside(
                    run_seq, attempt_id(run_id, number), number, stream, None if at_ms is None else size, at_ms
                )
