"""Log lines: an event's name and its fields, for people or as JSON. Never a payload, never a secret."""

import json
import logging
import sys
from collections.abc import Callable
from typing import Literal

Format = Literal["auto", "pretty", "json"]

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_NAMES = {"DEBUG": "debug", "INFO": "info", "WARNING": "warn", "ERROR": "error", "CRITICAL": "fatal"}


def configure(format_: Format, level: str, mask: Callable[[str], str] = str) -> None:
    """Send flowd's log to stderr: pretty on a terminal, else one JSON object a line; with what ``mask`` takes out."""
    is_pretty = format_ == "pretty" or (format_ == "auto" and sys.stderr.isatty())
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Pretty(mask) if is_pretty else _Json(mask))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("flowd").setLevel(level.upper())


def _fields(record: logging.LogRecord) -> dict[str, object]:
    return {key: value for key, value in vars(record).items() if key not in _STANDARD and value is not None}


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
        fields = " ".join(f"{key}={value}" for key, value in _fields(record).items())
        line = f"{self.formatTime(record, '%H:%M:%S')} {_NAMES[record.levelname]:5} {record.getMessage()}"
        line = f"{line}  {fields}" if fields else line
        return self._mask(f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line)


class _Json(_Masking):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": f"{self.formatTime(record, '%Y-%m-%dT%H:%M:%S')}.{int(record.msecs):03d}",
            "level": _NAMES[record.levelname],
            "logger": record.name,
            "event": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps({name: self._shown(value) for name, value in line.items()}, ensure_ascii=False, default=str)
