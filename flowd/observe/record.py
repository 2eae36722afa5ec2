"""Reads the fields of a log record."""

import logging

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def fields_of(record: logging.LogRecord) -> dict[str, object]:
    """What the caller gave as ``extra``, less what is None."""
    return {key: value for key, value in vars(record).items() if key not in _STANDARD and value is not None}
