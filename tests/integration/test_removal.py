"""Removing what steps have left in a folder."""

import os
from pathlib import Path

from flowd.state.removal import remove_tree


def test_it_goes_however_deep_it_is(tmp_path: Path) -> None:
    top = tmp_path / "top"
    top.mkdir()
    here = os.getcwd()
    try:
        os.chdir(top)
        for _ in range(1200):  # beyond what a path and a stack hold
            os.mkdir("d")
            os.chdir("d")
            Path("f").touch()
    finally:
        os.chdir(here)
    assert remove_tree(top) == []
    assert not top.exists()


def test_modes_do_not_keep_it(tmp_path: Path) -> None:
    top = tmp_path / "top"
    for name in ("shut", "read-only", "no list"):
        (top / name / "inner").mkdir(parents=True)
        (top / name / "inner" / "file").touch()
    (top / "shut").chmod(0)
    (top / "read-only").chmod(0o555)
    (top / "no list").chmod(0o111)
    top.chmod(0o500)
    assert remove_tree(top) == []
    assert not top.exists()


def test_links_are_removed_and_not_followed(tmp_path: Path) -> None:
    other, top = tmp_path / "other", tmp_path / "top"
    other.mkdir(mode=0o755)
    (other / "file").touch()
    (top / "inner").mkdir(parents=True)
    for place in (top, top / "inner"):
        (place / "folder").symlink_to(other)
        (place / "file").symlink_to(other / "file")
        (place / "nowhere").symlink_to("nowhere")
    assert remove_tree(top) == []
    (tmp_path / "link").symlink_to(other)
    assert remove_tree(tmp_path / "link") == []
    assert [path.name for path in tmp_path.iterdir()] == ["other"]
    assert (other / "file").exists()
    assert other.stat().st_mode & 0o777 == 0o755


def test_what_is_not_there_is_gone(tmp_path: Path) -> None:
    assert remove_tree(tmp_path / "nothing") == []
