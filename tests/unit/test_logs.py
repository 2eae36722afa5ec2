"""Log lines: masked in every place, and JSON still."""

import ast
import io
import json
import logging
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from flowd.domain.redaction import Redactor
from flowd.observe import logs


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("flowd")
    before = root.handlers[:], root.level, ours.level
    yield
    root.handlers[:], root.level, ours.level = before


@pytest.mark.parametrize("layout", ["json", "pretty"])
def test_no_log_line_shows_a_secret(layout: logs.Format, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    logs.configure(layout, "info", Redactor(["A", "N"], {"A": 'hunter"22', "N": "123456"}).text)
    log = logging.getLogger("flowd.test")
    try:
        raise ValueError('bad hunter"22')
    except ValueError:
        log.exception("it is %s", 'hunter"22', extra={"where": 'x hunter"22', "number": 123456, "fine": 7})
    text = stream.getvalue()
    assert "hunter" not in text
    assert "123456" not in text
    assert "Traceback" in text
    if layout == "json":
        line = json.loads(text)
        assert (line["event"], line["where"], line["number"], line["fine"]) == ("it is ***", "x ***", "***", 7)


def test_json_lines_tell_the_time_in_utc_wherever_the_machine_is(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        logs.configure("json", "info")
        logging.getLogger("flowd.test").warning("now")
    finally:
        monkeypatch.undo()
        time.tzset()
    told = json.loads(stream.getvalue())["time"]
    assert len(told) == len("2026-11-23T04:23:32.386Z")
    assert told.endswith("Z")
    assert abs(datetime.fromisoformat(told) - datetime.now(UTC)) < timedelta(minutes=1)


def test_no_field_of_a_log_line_takes_the_place_of_its_own() -> None:
    own = {"time", "level", "logger", "event"}
    root = Path(logs.__file__).parents[1]
    found = [
        f"{file.relative_to(root)}:{call.lineno}"
        for file in root.rglob("*.py")
        for call in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(call, ast.keyword) and call.arg == "extra" and isinstance(call.value, ast.Dict)
        if own & {key.value for key in call.value.keys if isinstance(key, ast.Constant)}
    ]
    assert found == []
