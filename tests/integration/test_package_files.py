"""The hash of all files of a package, as they are when it is asked for."""

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from flowd.catalog.files import MAX_FILES, MAX_HASHED_BYTES
from flowd.catalog.package_files import PackageFiles
from flowd.catalog.scan import scan_once


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "flows" / "x"
    (folder / "lib" / "deep").mkdir(parents=True)
    (folder / "flow.toml").write_text(
        'name = "x"\nversion = 1\n[[steps]]\nname = "s"\nrunner = "exec"\nscript = "run.sh"\n'
    )
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o755)
    (folder / "lib" / "deep" / "helper.py").write_text("x = 1\n")
    return folder


def hash_of(hashes: PackageFiles, package: Path) -> str | None:
    return asyncio.run(hashes.now(str(package), "run.sh"))


def edit(path: Path) -> None:
    path.write_text("edited\n")


def edit_unseen(path: Path) -> None:
    """Another content of the same size, and the times as they were."""
    status = path.stat()
    path.write_text(path.read_text().replace("1", "2"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: edit(folder / "run.sh"),
        lambda folder: edit(folder / "lib" / "deep" / "helper.py"),
        lambda folder: edit_unseen(folder / "lib" / "deep" / "helper.py"),
        lambda folder: edit(folder / "lib" / "new.py"),
        lambda folder: (folder / "lib" / "deep" / "helper.py").rename(folder / "lib" / "moved.py"),
        lambda folder: (folder / "lib" / "deep" / "helper.py").unlink(),
    ],
)
def test_any_change_of_a_file_changes_the_hash(package: Path, change: object) -> None:
    assert callable(change)
    hashes = PackageFiles()
    before = hash_of(hashes, package)
    assert hash_of(hashes, package) == before
    change(package)
    after = hash_of(hashes, package)
    assert before != after == hash_of(PackageFiles(), package)


@pytest.mark.parametrize("folder", ["__pycache__", "node_modules", ".git", ".venv"])
def test_what_is_made_or_fetched_is_in_no_hash(package: Path, folder: str) -> None:
    hashes = PackageFiles()
    before = hash_of(hashes, package)
    (package / "lib" / folder).mkdir()
    edit(package / "lib" / folder / "x")
    assert hash_of(hashes, package) == before


def test_a_link_counts_as_what_it_leads_to_and_a_loop_ends(package: Path, tmp_path: Path) -> None:
    (tmp_path / "shared.py").write_text("1")
    (package / "shared.py").symlink_to(tmp_path / "shared.py")
    (package / "self").symlink_to(package)
    os.mkfifo(package / "pipe")
    hashes = PackageFiles()
    before = hash_of(hashes, package)
    edit(tmp_path / "shared.py")
    assert hash_of(hashes, package) != before


def test_a_very_large_package_is_told_and_hashed_by_what_its_manifest_names(package: Path, tmp_path: Path) -> None:
    for number in range(MAX_FILES):
        (package / "lib" / f"{number}").touch()
    (flow,) = scan_once(tmp_path).flows
    assert flow.warnings[-1].startswith("the package has more than 1000 files")
    hashes = PackageFiles()
    before = hash_of(hashes, package)
    assert before == flow.package_hash
    edit(package / "lib" / "0")
    assert hash_of(hashes, package) == before


def test_a_package_that_is_gone_has_none(tmp_path: Path) -> None:
    assert hash_of(PackageFiles(), tmp_path / "gone") is None


def test_the_hash_by_content_is_the_same_in_every_checkout(package: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.sh"
    elsewhere.write_text("#!/bin/sh\n")
    with (package / "weights").open("wb") as file:
        file.truncate(MAX_HASHED_BYTES + 1)
    copy = tmp_path / "deep" / "below" / "flows" / "x"
    shutil.copytree(package, copy)
    os.utime(copy / "weights", (1, 1))
    scripts = ["run.sh", str(elsewhere)]

    def whole(folder: Path) -> str | None:
        return asyncio.run(PackageFiles().whole(str(folder), scripts))

    assert whole(package) == whole(copy)
    assert hash_of(PackageFiles(), package) != hash_of(PackageFiles(), copy)  # which would read it at each start
    with (copy / "weights").open("r+b") as file:
        file.write(b"1")
    assert whole(package) != whole(copy)
