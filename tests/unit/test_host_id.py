"""The id of a state folder among hosts."""

import shutil
from pathlib import Path

import pytest

from flowd.domain.errors import StateError
from flowd.state import host_id


def test_an_id_is_made_once(tmp_path: Path) -> None:
    first = host_id.read_or_make(tmp_path)
    assert host_id.read_or_make(tmp_path) == first
    assert len(first) == 32
    assert [path.name for path in tmp_path.iterdir()] == [host_id.HOST_ID]
    (tmp_path / "other").mkdir()
    assert host_id.read_or_make(tmp_path / "other") != first


def test_a_file_that_is_none_of_ours_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / host_id.HOST_ID).write_text("mine\n")
    with pytest.raises(StateError, match="has no id of flowd's in it"):
        host_id.read_or_make(tmp_path)
    assert (tmp_path / host_id.HOST_ID).read_text() == "mine\n"


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("0" * 32)
    (tmp_path / host_id.HOST_ID).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="follows none where its state is"):
        host_id.read_or_make(tmp_path)


def test_a_copy_is_another_host(tmp_path: Path) -> None:
    first, copy = tmp_path / "first", tmp_path / "copy"
    first.mkdir()
    here = host_id.here(first)
    assert host_id.here(first) == here
    shutil.copytree(first, copy)
    assert host_id.read_or_make(copy) == host_id.read_or_make(first)
    assert host_id.here(copy) != here
