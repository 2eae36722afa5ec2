"""Formats log lines for people, as JSON, or for the journal: an event's name and fields, never a payload or secret."""

import json
import logging
import os
import sys
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Literal

from flowd.domain.errors import StateError
from flowd.engine import run_log
from flowd.formats.terminal import escaped, escaped_json
from flowd.observe.delivery import Delivery
from flowd.observe.record import fields_of
from flowd.observe.stream import StreamOutlet

Format = Literal["auto", "pretty", "json", "journal"]

_NAMES = {"DEBUG": "debug", "INFO": "info", "WARNING": "warn", "ERROR": "error", "CRITICAL": "fatal"}


def configure(format_: Format, level: str, mask: Callable[[str], str] = str) -> None:
    """Send flowd's log to stderr, masked by ``mask``: pretty on a terminal, else one JSON object a line.

    Where stderr is the journal's, the log goes there natively, with fields to ask for, and tells every step of a run's
    life: that is where one looks for it. Wherever it goes, nobody ever waits for it.

    Raises:
        StateError: The journal was asked for, and there is none.
    """
    # Asked for anew with each record, and shown to nobody: half of what making one costs.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    is_journal = format_ == "journal" or (format_ == "auto" and "JOURNAL_STREAM" in os.environ and _is_journal())
    handler = _journal_handler(mask, is_asked=format_ == "journal") if is_journal else _stream_handler(format_, mask)
    root = logging.getLogger()
    for old in root.handlers:
        old.close()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("flowd").setLevel(level.upper())
    logging.getLogger(run_log.LOGGER).setLevel(logging.DEBUG if is_journal else logging.NOTSET)


def trouble() -> str | None:
    """What the log has lost and what waits to go out, as a sentence; None while everything has gone out."""
    found = (handler.health for handler in logging.getLogger().handlers if isinstance(handler, Delivery))
    health = next(found, None)
    if health is None:
        return None
    return f"{health.dropped} log entries were lost and {health.waiting} wait: {health.problem}"


def _is_journal() -> bool:
    try:
        from flowd.observe import journal  # noqa: PLC0415 - only there is it needed
    except ImportError:  # not on Linux
        return False
    return journal.is_stderr()


def _journal_handler(mask: Callable[[str], str], *, is_asked: bool) -> logging.Handler:
    try:
        from flowd.observe.journal import JournalOutlet  # noqa: PLC0415 - as above
    except ImportError:
        raise StateError("There is no systemd journal here. Choose another log_format: auto, pretty, json.") from None
    outlet = JournalOutlet(mask)
    if is_asked:
        outlet.check()
    return Delivery(outlet)


def _stream_handler(format_: Format, mask: Callable[[str], str]) -> logging.Handler:
    is_pretty = format_ == "pretty" or (format_ == "auto" and sys.stderr.isatty())
    return Delivery(StreamOutlet(sys.stderr, _Pretty(mask) if is_pretty else _Json(mask)))


class _Masking(logging.Formatter):
    def __init__(self, mask: Callable[[str], str]) -> None:
        super().__init__()
        self._mask = mask

    def _shown(self, value: object) -> object:
        text = str(value)
        masked = self._mask(text)
        return value if masked == text else masked


class _Pretty(_Masking):
    def format(self, record: logging.LogRecord) -> str:
        said = self._line(record.getMessage())
        fields = " ".join(f"{key}={self._line(str(value))}" for key, value in fields_of(record).items())
        line = f"{self.formatTime(record, '%H:%M:%S')} {_NAMES[record.levelname]:5} {said}"
        line = f"{line}  {fields}" if fields else line
        return f"{line}\n{escaped(self._mask(self.formatException(record.exc_info)))}" if record.exc_info else line

    def _line(self, text: str) -> str:
        return escaped(self._mask(text), is_line=True)


class _Json(_Masking):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": f"{_second(int(record.created))}.{int(record.msecs):03d}Z",
            "level": _NAMES[record.levelname],
            "logger": record.name,
            "event": record.getMessage(),
            **fields_of(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        text = _encode(line)
        if self._mask(text) != text:  # a secret is known inside a JSON string, too, so one look at the whole will do
            text = _encode({name: self._shown(value) for name, value in line.items()})
        return escaped_json(text)


_encode = json.JSONEncoder(ensure_ascii=False, check_circular=False, default=str).encode


@lru_cache(maxsize=4)
def _second(at_s: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at_s))
