"""What a step says of how far it is, read from its output while it runs."""

import doctest
import os
from pathlib import Path
from types import ModuleType

import pytest

from flowd.domain import progress
from flowd.domain.ids import file_name
from flowd.domain.progress import MAX_LINE_BYTES, Progress, last, parse
from flowd.engine import progress as engine_progress
from flowd.engine.outputs import OutputFiles
from flowd.engine.progress import ProgressReader


@pytest.mark.parametrize("module", [progress, engine_progress])
def test_doctests(module: ModuleType) -> None:
    results = doctest.testmod(module)
    assert results.attempted > 0
    assert results.failed == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b'{"percent": 40, "message": "half"}', Progress(40, "half")),
        (b'{"percent": 0}', Progress(0)),
        (b"{}", Progress()),
        (b'{"percent": -3, "message": "  two\\n lines "}', Progress(0, "two lines")),
        (b'{"percent": NaN}', Progress()),
        (b'{"percent": 1e999}', Progress()),
        (b'{"percent": -1e999, "message": "x"}', Progress(None, "x")),
        (b'{"percent": ' + b"9" * 400 + b"}", Progress(100)),
        (b'{"percent": ' + b"9" * 5_000 + b"}", None),
        (b'{"percent": true, "message": ""}', Progress()),
        (b'{"percent": "40", "message": {"a": 1}}', Progress()),
        (b'{"message": "\\ud800"}', Progress(None, "?")),
        (b'{"message": "\xff"}', Progress(None, "\ufffd")),
        (b'["percent", 40]', None),
        (b"40 %", None),
        (b"", None),
        (b"[" * 5_000, None),
    ],
)
def test_what_a_line_says(text: bytes, said: Progress | None) -> None:
    assert parse(text) == said


def test_a_message_is_cut_and_a_line_that_is_too_long_says_nothing() -> None:
    long = parse(b'{"message": "' + b"x" * 5_000 + b'"}')
    assert long is not None
    shown = long.shown(str).message
    assert shown is not None
    assert len(shown) == progress.MAX_MESSAGE_CHARS
    too_long = b'FLOW_PROGRESS {"message": "' + b"x" * MAX_LINE_BYTES + b'"}\n'
    assert last(b'FLOW_PROGRESS {"percent": 1}\n' + too_long) == Progress(1)


def test_many_lines_that_cannot_be_read_are_given_up() -> None:
    assert last(b'FLOW_PROGRESS {"percent": 1}\n' + b"FLOW_PROGRESS x\n" * 100_000) is None


class _Step:
    def __init__(self, folder: Path) -> None:
        self.reader = ProgressReader(OutputFiles(folder, max_output_bytes=1 << 30), "run_1:1", self.mask)
        self.path = folder / f"{file_name('run_1:1')}.stdout"

    def mask(self, text: str) -> str:
        return text.replace("hunter2", "***")

    def prints(self, text: bytes) -> Progress | None:
        with self.path.open("ab") as file:
            file.write(text)
        return self.reader.look()


def test_only_what_is_new_is_told_and_secrets_are_masked(tmp_path: Path) -> None:
    step = _Step(tmp_path)
    assert step.reader.look() is None
    assert step.prints(b'FLOW_PROGRESS {"percent": 10}\n') == Progress(10)
    assert step.prints(b"something else\n") is None
    assert step.prints(b'FLOW_PROGRESS {"percent": 10}\n') is None
    assert step.prints(b'FLOW_PROGRESS {"percent": 20, "mess') is None
    assert step.prints(b'age": "with hunter2"}\n') == Progress(20, "with ***")
    os.truncate(step.path, 0)
    assert step.reader.look() is None
    assert step.prints(b'FLOW_PROGRESS {"percent": 30}\n') == Progress(30)


def test_an_endless_line_and_a_flood_cost_a_look_at_their_end(tmp_path: Path) -> None:
    step = _Step(tmp_path)
    assert step.prints(b"x" * 3_000_000) is None
    assert step.prints(b"y" * 3_000_000 + b'\nFLOW_PROGRESS {"percent": 5}\n') == Progress(5)
    assert step.prints(b"z" * 3_000_000 + b"\n") is None


def test_a_secret_is_masked_before_a_message_is_cut(tmp_path: Path) -> None:
    step = _Step(tmp_path)
    said = step.prints(
        b'FLOW_PROGRESS {"message": "%s hunter2 and more"}\n' % (b"x" * (progress.MAX_MESSAGE_CHARS - 5))
    )
    assert said is not None
    assert said.message is not None
    assert said.message.endswith("x ***…")
