"""The file that keeps room for what must be written when the disk is full."""

import os
from pathlib import Path

from flowd.store.sqlite.room import Reserve


def test_a_pipe_in_its_place_is_removed_and_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "flowd.reserve"
    os.mkfifo(path)
    reserve = Reserve(path, 4096)
    assert not reserve.make()
    assert reserve.make()
    assert path.stat().st_size == 4096
