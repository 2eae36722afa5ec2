"""Units that live on after their steps, and the folder that remembers them."""

from pathlib import Path

import pytest

from flowd.executors.systemd.detached import DetachedUnits


@pytest.mark.parametrize("what", ["nothing", "a file above", "a file"])
def test_a_folder_that_is_away_or_no_folder_has_no_units(tmp_path: Path, what: str) -> None:
    folder = tmp_path / "units" / "detached"
    if what == "a file above":
        folder.parent.touch()
    elif what == "a file":
        folder.parent.mkdir()
        folder.touch()
    assert DetachedUnits(folder, state_dir=tmp_path)._units() == []
