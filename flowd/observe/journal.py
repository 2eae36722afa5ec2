"""Writes log lines to the systemd journal, with fields that can be queried: ``journalctl FLOWD_RUN_ID=run_…``.

The one owner of `logging_journald`, of which only the transport is used: its handler would make a new MESSAGE_ID for
every text, and write our source lines into each entry.
"""

import logging
import re
import socket
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from logging_journald import JournaldTransport, check_journal_stream

from flowd.domain.errors import StateError
from flowd.observe.record import fields_of

IDENTIFIER = "flowd"

MESSAGE_IDS: Mapping[str, str] = {
    "ready": "3fcb9d04ab6c4d1e8c4f9b1f6f0f1a01",
    "stopping": "3fcb9d04ab6c4d1e8c4f9b1f6f0f1a02",
    "stopped": "3fcb9d04ab6c4d1e8c4f9b1f6f0f1a03",
    "reloaded": "3fcb9d04ab6c4d1e8c4f9b1f6f0f1a04",
    "draining": "3fcb9d04ab6c4d1e8c4f9b1f6f0f1a05",
    "storage failed": "3fcb9d04ab6c4d1e8c4f9b1f6f0f1a06",
    "keeper lost": "3fcb9d04ab6c4d1e8c4f9b1f6f0f1a07",
    "unfinished runs reconciled": "3fcb9d04ab6c4d1e8c4f9b1f6f0f1a08",
    "keeper restarted": "3fcb9d04ab6c4d1e8c4f9b1f6f0f1a09",
    "run queued": "3fcb9d04ab6c4d1e8c4f9b1f6f0f1a11",
    "run started": "3fcb9d04ab6c4d1e8c4f9b1f6f0f1a12",
    "run ended": "3fcb9d04ab6c4d1e8c4f9b1f6f0f1a13",
}
"""Promises, like an API: ``journalctl MESSAGE_ID=…`` finds the same kind of message in every version."""

_PRIORITIES = {logging.CRITICAL: 2, logging.ERROR: 3, logging.WARNING: 4, logging.INFO: 6, logging.DEBUG: 7}
_UNFIT = re.compile(r"[^A-Z0-9]+")
_MAX_FIELD_CHARS = 4_000


def is_stderr() -> bool:
    """Whether our stderr is connected to the journal."""
    try:
        return bool(check_journal_stream())
    except (OSError, ValueError):
        return False


class JournalOutlet:
    """The journal as a place for log entries, by its native protocol.

    A field ``run_id`` becomes ``FLOWD_RUN_ID``; an entry that goes out late has a field
    ``logged_at``.
    """

    def __init__(self, mask: Callable[[str], str], socket_path: Path = JournaldTransport.SOCKET_PATH) -> None:
        """``mask`` takes secrets out of a text."""
        self._mask = mask
        self._path = socket_path
        # Not connected: each entry finds the socket that is at the path now, when journald has made another.
        self._transport = JournaldTransport(socket_path, connected=False)
        self._transport.socket.setblocking(False)  # noqa: FBT003

    def check(self) -> None:
        """Raise where there is no journal.

        Raises:
            StateError: There is none on this machine.
        """
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
                probe.connect(str(self._path))
        except OSError as error:
            raise StateError(
                f"There is no journal at {self._path}: {error.strerror}. "
                "Choose another log_format: auto, pretty or json."
            ) from error

    def size_bytes(self, entry: dict[str, str]) -> int:
        """About what it takes in memory."""
        return sum(len(name) + len(value) for name, value in entry.items())

    def delay(self, entry: dict[str, str], record: logging.LogRecord) -> None:
        """Note when it was made: the journal will take the time when it gets it."""
        entry[_field("logged_at")] = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")

    def send(self, entry: dict[str, str]) -> None:
        """Send an entry.

        Raises:
            OSError: The journal does not take it now.
        """
        self._transport.send(entry.items())

    def render(self, record: logging.LogRecord) -> dict[str, str]:
        """An entry's fields."""
        event = record.getMessage()
        extra = {key: str(value) for key, value in fields_of(record).items()}
        message = " ".join([event, *(f"{key}={value}" for key, value in extra.items())])
        if record.exc_info:
            message = f"{message}\n{logging.Formatter().formatException(record.exc_info)}"
        entry = {
            "MESSAGE": self._mask(message)[: 4 * _MAX_FIELD_CHARS],
            "PRIORITY": str(_PRIORITIES.get(record.levelno, 5)),
            "SYSLOG_IDENTIFIER": IDENTIFIER,
            "LOGGER": record.name,
        }
        if event in MESSAGE_IDS:
            entry["MESSAGE_ID"] = MESSAGE_IDS[event]
        for key, value in extra.items():
            entry[_field(key)] = self._mask(value)[:_MAX_FIELD_CHARS]
        return entry

    def close(self) -> None:
        """Close the connection."""
        self._transport.socket.close()


def _field(key: str) -> str:
    return f"FLOWD_{_UNFIT.sub('_', key.upper())}"
