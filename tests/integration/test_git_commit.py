"""The commit of a work tree, read from git's files as they are in every layout that git writes."""

from pathlib import Path

import pytest

from flowd.state.git_commit import commit_of

ONE, OTHER = "1" * 40, "2" * 64


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n")


@pytest.fixture
def git(tmp_path: Path) -> Path:
    """A git folder on the branch ``main``, of which nothing is said yet; its work tree is the folder above."""
    write(tmp_path / ".git/HEAD", "ref: refs/heads/main")
    return tmp_path / ".git"


def test_a_branch_is_a_file_or_packed_and_the_file_is_the_newer_one(git: Path) -> None:
    assert commit_of(git.parent) is None  # a repository without a commit
    write(
        git / "packed-refs", f"# pack-refs with: peeled\n{'3' * 40} refs/heads/other\n{OTHER} refs/heads/main\n^{ONE}"
    )
    assert commit_of(git.parent) == OTHER
    write(git / "refs/heads/main", ONE)
    assert commit_of(git.parent) == ONE
    (git.parent / "deep" / "below").mkdir(parents=True)
    assert commit_of(git.parent / "deep" / "below") == ONE


def test_a_head_that_is_a_commit_is_taken_as_it_is(git: Path) -> None:
    write(git / "HEAD", ONE)
    assert commit_of(git.parent) == ONE


def test_another_work_tree_shares_branches_with_its_repository(git: Path, tmp_path: Path) -> None:
    own = git / "worktrees" / "other"
    write(own / "HEAD", "ref: refs/heads/topic")
    write(own / "commondir", "../..")
    write(git / "refs/heads/topic", ONE)
    write(tmp_path / "other" / ".git", f"gitdir: {own}")
    assert commit_of(tmp_path / "other") == ONE


@pytest.mark.parametrize(
    "head", ["", "ref: refs/heads/.invalid", "ref: ../../secret", "ref: refs/../x", "what", "ref: refs/loop"]
)
def test_what_is_no_commit_is_none(git: Path, head: str) -> None:
    write(git / "refs/loop", "ref: refs/loop")
    write(git.parent.parent / "secret", ONE)
    write(git / "x", ONE)
    write(git / "HEAD", head)
    assert commit_of(git.parent) is None


def test_a_folder_in_no_repository_has_no_commit(tmp_path: Path) -> None:
    assert commit_of(tmp_path) is None
