"""Saves of files as they are told, whatever editors do for one."""

import queue
from collections.abc import Iterator
from pathlib import Path

import pytest
from daemon_rig import until

from flowd.watching.saves import Saves


class Told:
    def __init__(self, root: Path, *also: Path) -> None:
        self.paths: queue.SimpleQueue[frozenset[str]] = queue.SimpleQueue()
        self.saves = Saves([root / "flows"], self.paths.put, also=lambda: [str(path) for path in also])
        self.saves.start()
        self.root = root
        self.known: set[str] = set()

    def until_told(self, *names: str) -> None:
        """These files were told, and no others were but those before: a write may be told in two parts."""
        wanted = {str(self.root / name) for name in names}
        found: set[str] = set()

        def has_all() -> bool:
            while not self.paths.empty():
                found.update(self.paths.get())
            return found >= wanted

        until(has_all, what=f"{names} among {found}")
        self.known |= wanted
        assert found <= self.known


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "flows/a/lib").mkdir(parents=True)
    (tmp_path / "flows/a/lib/x.py").write_text("1")
    (tmp_path / "shared.py").write_text("1")
    return tmp_path


@pytest.fixture
def told(root: Path) -> Iterator[Told]:
    it = Told(root, root / "shared.py")
    yield it
    it.saves.stop()


def test_files_of_packages_and_files_that_are_named_are_told(root: Path, told: Told) -> None:
    (root / "flows/a/lib/x.py").write_text("2")
    told.until_told("flows/a/lib/x.py")
    (root / "flows/a/new.py").write_text("1")
    told.until_told("flows/a/new.py")
    (root / "shared.py").write_text("2")
    told.until_told("shared.py")
    (root / "flows/a/new.py").unlink()
    told.until_told("flows/a/new.py")


def test_what_editors_and_tools_keep_beside_is_not_told(root: Path, told: Told) -> None:
    (root / "flows/a/.x.py.swp").write_text("1")
    (root / "flows/a/__pycache__").mkdir()
    (root / "flows/a/__pycache__/x.pyc").write_text("1")
    (root / "flows/a/node_modules").mkdir()
    (root / "flows/a/node_modules/y.js").write_text("1")
    (root / "elsewhere.py").write_text("1")
    (root / "flows/a/last.py").write_text("1")
    told.until_told("flows/a/last.py")


def test_folders_that_come_later_are_watched_and_links_lead_in_no_circle(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    told = Told(tmp_path)
    try:
        (tmp_path / "flows").mkdir()
        (tmp_path / "flows/linked").symlink_to(elsewhere)
        (elsewhere / "circle").symlink_to(elsewhere)
        (elsewhere / "step.py").write_text("1")
        told.until_told("flows/linked/step.py")
        (elsewhere / "step.py").write_text("22")
        told.until_told("flows/linked/step.py")
    finally:
        told.saves.stop()
