"""Reading files once, and knowing later whether they are still the same."""

import hashlib
import os
from pathlib import Path

import pytest

from flowd.catalog.files import MAX_HASHED_BYTES, Reading, digest_of


def test_a_file_is_current_until_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("one")
    reading = Reading()
    assert reading.read(str(path), 10) == b"one"
    assert reading.is_current()
    path.write_text("other")
    assert not reading.is_current()


def test_a_missing_file_is_remembered_as_missing(tmp_path: Path) -> None:
    reading = Reading()
    assert not reading.note(str(tmp_path / "a"))
    assert reading.is_current()
    (tmp_path / "a").write_text("")
    assert not reading.is_current()
    assert reading.again().note(str(tmp_path / "a"))


def test_a_young_file_is_not_settled_and_an_old_one_is(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("one")
    young, old = Reading(), Reading()
    young.note(str(tmp_path / "a"))
    # The change time cannot be set, and this file was installed long ago.
    old.note(os.__file__)
    assert (young.is_settled(), old.is_settled()) == (False, True)


def test_an_old_file_that_is_touched_is_young_again(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("one")
    os.utime(tmp_path / "a", (0, 0))
    reading = Reading()
    reading.note(str(tmp_path / "a"))
    assert not reading.is_settled()


def test_reading_again_tells_contents_apart_whatever_the_stamps_say(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("one")
    reading = Reading()
    reading.note(str(tmp_path / "a"))
    assert reading.again().digests == reading.digests
    (tmp_path / "a").write_text("two")
    assert reading.again().digests != reading.digests


@pytest.mark.parametrize("kind", ["folder", "pipe", "large", "missing"])
def test_what_is_no_regular_file_of_reasonable_size_is_not_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a"
    match kind:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "large":
            path.write_text("x" * 11)
    with pytest.raises(OSError, match=r"regular|larger|directory"):
        Reading().read(str(path), 10)


def test_a_huge_script_is_told_apart_by_size_and_time(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with path.open("wb") as file:
        file.truncate(MAX_HASHED_BYTES + 1)
    reading = Reading()
    assert reading.note(str(path))
    os.utime(path, (0, 0))
    assert reading.again().digests != reading.digests


def test_the_digest_is_over_relative_paths_and_contents() -> None:
    content = hashlib.sha256(b"x").hexdigest()
    whole = hashlib.sha256(f"b/c\0{content}\0flow.toml\0{content}\0".encode()).hexdigest()
    assert digest_of({"/p/flow.toml": content, "/p/b/c": content}, "/p") == f"sha256:{whole}"
