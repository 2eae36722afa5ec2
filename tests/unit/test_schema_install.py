"""What lies in a workspace where a schema is written, or a file that names one is looked for."""

import os
from pathlib import Path

from flowd import schemas
from flowd.cli.schema import _unnamed


def test_a_named_pipe_is_replaced_and_not_waited_for(tmp_path: Path) -> None:
    place = schemas.copy_in(tmp_path, "flow")
    place.parent.mkdir()
    os.mkfifo(place)
    assert schemas.install(tmp_path, "flow")
    assert place.read_text() == schemas.text("flow")
    assert not schemas.install(tmp_path, "flow")


def test_a_file_that_is_none_is_passed_over(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "flows" / name).mkdir(parents=True)
    os.mkfifo(tmp_path / "flows/a/flow.toml")
    (tmp_path / "flows/b/flow.toml").write_text('name = "b"\n')
    assert [file.parent.name for file, _ in _unnamed(tmp_path)] == ["b"]
