"""The files of a watch: what is looked at, and what has changed since it was told."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowd.domain.watches import Watch
from flowd.watching.tree import Tree


def tree(top: Path, *paths: str, gitignore: bool = True, max_files: int = 1000) -> Tree:
    """A tree that knows what is there."""
    watch = Watch("f", "w", paths or ("**",), "t", gitignore=gitignore)
    made = Tree(watch, str(top), max_files=max_files)
    assert not made.look()
    return made


def write(path: Path, text: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def changes(it: Tree) -> dict[str, str]:
    return {found.path: found.change for found in it.take()}


def test_what_is_there_at_first_is_no_news(tmp_path: Path) -> None:
    write(tmp_path / "src" / "a")
    it = tree(tmp_path)
    assert it.files == 1
    assert changes(it) == {}


def test_files_that_come_change_and_go_are_told_once(tmp_path: Path) -> None:
    for name in ("gone", "changed", "same"):
        write(tmp_path / name)
    it = tree(tmp_path)
    (tmp_path / "gone").unlink()
    write(tmp_path / "changed", "more")
    write(tmp_path / "deep" / "er" / "new")
    assert it.look()
    assert changes(it) == {"gone": "deleted", "changed": "modified", "deep/er/new": "added"}
    assert not it.look()
    assert changes(it) == {}


def test_what_is_as_it_was_in_the_end_is_not_told(tmp_path: Path) -> None:
    write(tmp_path / "a", "1")
    it = tree(tmp_path)
    status = (tmp_path / "a").stat()
    write(tmp_path / "a", "2222")
    write(tmp_path / "b")
    assert it.look()
    write(tmp_path / "a", "1")
    os.utime(tmp_path / "a", ns=(status.st_atime_ns, status.st_mtime_ns))
    (tmp_path / "b").unlink()
    it.look()
    assert changes(it) == {}


def test_only_what_a_pattern_takes_is_looked_at(tmp_path: Path) -> None:
    for path in ("src/a.py", "src/gen/b.py", "docs/c.md", "d.py"):
        write(tmp_path / path)
    it = tree(tmp_path, "src/**", "!src/gen/**")
    assert it.files == 1
    assert set(it.standing) == {str(tmp_path), str(tmp_path / "src")}


def test_git_and_what_is_flowds_own_never_count(tmp_path: Path) -> None:
    state = tmp_path / "state"
    for path in (".git/HEAD", "a/.git", ".codex/flowd/flowd.db", ".codex/flows/p/flow.toml", "state/flowd.db", "b"):
        write(tmp_path / path)
    own = state.stat()
    it = Tree(Watch("f", "w", ("**",), "t"), str(tmp_path), is_own=lambda known: known == (own.st_dev, own.st_ino))
    it.look()
    assert [path for path, _ in it.told()] == ["b"]
    write(tmp_path / ".codex/flowd/output/x")
    write(tmp_path / "state/y")
    assert not it.look_at([str(tmp_path / ".codex/flowd/output"), str(state / "y"), str(state)])
    assert not it.look()


def test_a_file_of_flowds_own_does_not_count(tmp_path: Path) -> None:
    log = tmp_path / "daemon.log"
    write(log, "ready")
    own = log.stat()
    it = Tree(Watch("f", "w", ("**",), "t"), str(tmp_path), is_own=lambda known: known == (own.st_dev, own.st_ino))
    it.look()
    write(log, "ready, and more")
    assert not it.look_at([str(log)])
    assert not it.look()
    assert it.files == 0


def test_a_workspace_may_be_the_root_of_all(tmp_path: Path) -> None:
    name = str(tmp_path).removeprefix("/")
    write(tmp_path / "a")
    it = tree(Path("/"), f"{name}/*")
    assert [path for path, _ in it.told()] == [f"{name}/a"]
    write(tmp_path / "b")
    assert it.look_at([str(tmp_path / "b")])
    assert changes(it) == {f"{name}/b": "added"}
    assert "/" in it.standing


def test_what_a_gitignore_leaves_out_does_not_count(tmp_path: Path) -> None:
    write(tmp_path / ".gitignore", "*.o\nbuild/\n/top\n")
    write(tmp_path / "src" / ".gitignore", "!keep.o\nlocal\n")
    for path in ("a.o", "src/keep.o", "src/local", "local", "build/x", "src/build/y", "top", "src/top"):
        write(tmp_path / path)
    found = {path for path, _ in tree(tmp_path).told()}
    assert found == {".gitignore", "src/.gitignore", "src/keep.o", "local", "src/top"}
    assert tree(tmp_path, gitignore=False).files == 10


def test_what_comes_into_view_by_a_gitignore_is_no_news_and_what_is_new_is(tmp_path: Path) -> None:
    write(tmp_path / ".gitignore", "*.log\nbuild/\n")
    for path in ("a.log", "build/x", "src/b"):
        write(tmp_path / path)
    it = tree(tmp_path)
    write(tmp_path / ".gitignore", "src/\n")
    write(tmp_path / "new")
    assert it.look_at([str(tmp_path / ".gitignore")])
    assert changes(it) == {".gitignore": "modified", "new": "added"}
    assert {path for path, _ in it.told()} == {".gitignore", "a.log", "build/x", "new"}
    write(tmp_path / "build" / "x", "now it counts")
    assert it.look_at([str(tmp_path / "build" / "x")])
    assert changes(it) == {"build/x": "modified"}


def test_links_are_files_and_are_not_followed(tmp_path: Path) -> None:
    write(tmp_path / "far" / "a")
    write(tmp_path / "ws" / "src" / "a")
    src = tmp_path / "ws" / "src"
    (src / "out").symlink_to(tmp_path / "far")
    (src / "round").symlink_to(src)
    (src / "nowhere").symlink_to("nothing")
    it = tree(tmp_path / "ws")
    assert it.files == 4
    (src / "nowhere").unlink()
    (src / "nowhere").symlink_to("something")
    assert it.look_at([str(src / "nowhere")])
    assert changes(it) == {"src/nowhere": "modified"}


def test_a_folder_that_a_pattern_names_may_be_a_link_within_the_workspace(tmp_path: Path) -> None:
    write(tmp_path / "packages" / "app" / "a")
    write(tmp_path / "packages" / "lib" / "a")
    (tmp_path / "src").symlink_to("packages/app")
    it = tree(tmp_path, "src/**")
    assert [path for path, _ in it.told()] == ["src/a"]
    write(tmp_path / "packages" / "app" / "b")
    assert it.look_at([str(tmp_path / "src" / "b")])
    assert changes(it) == {"src/b": "added"}
    (tmp_path / "src").unlink()
    (tmp_path / "src").symlink_to("packages/lib")
    it.look_at([str(tmp_path / "src")])
    assert changes(it) == {"src/a": "modified", "src/b": "deleted"}


def test_a_link_out_of_the_workspace_is_not_followed_and_told(tmp_path: Path) -> None:
    write(tmp_path / "far" / "a")
    (tmp_path / "ws").mkdir()
    (tmp_path / "ws" / "src").symlink_to(tmp_path / "far")
    (tmp_path / "ws" / "top").symlink_to(tmp_path / "ws")
    it = tree(tmp_path / "ws", "src/**", "top/**")
    assert [path for path, _ in it.told()] == []
    assert it.links_out == {"src", "top"}


def test_a_folder_that_a_link_takes_the_place_of_is_gone(tmp_path: Path) -> None:
    write(tmp_path / "src" / "lib" / "a")
    write(tmp_path / "other" / "a")
    it = tree(tmp_path, "src/**")
    shutil.rmtree(tmp_path / "src" / "lib")
    (tmp_path / "src" / "lib").symlink_to("../other")
    it.look_at([str(tmp_path / "src" / "lib")])
    assert changes(it) == {"src/lib/a": "deleted", "src/lib": "added"}


def test_pipes_sockets_and_devices_do_not_count(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    it = tree(tmp_path)
    assert it.files == 0
    os.mkfifo(tmp_path / "pipe2")
    os.mkfifo(tmp_path / ".gitignore")
    assert not it.look_at([str(tmp_path / "pipe2"), str(tmp_path / ".gitignore")])
    write(tmp_path / "file")
    it.look()
    assert changes(it) == {"file": "added"}
    (tmp_path / "file").unlink()
    os.mkfifo(tmp_path / "file")
    it.look_at([str(tmp_path / "file")])
    assert changes(it) == {"file": "deleted"}


def test_names_that_are_no_unicode_are_files_like_others(tmp_path: Path) -> None:
    it = tree(tmp_path)
    name = os.fsdecode(b"\xff.txt")
    folder = os.fsdecode(b"\xfe")
    write(tmp_path / name)
    write(tmp_path / folder / "a")
    it.look()
    assert changes(it) == {name: "added", f"{folder}/a": "added"}
    assert it.has_unwatchable
    assert set(it.standing) == {str(tmp_path)}


def test_a_workspace_that_is_away_has_not_lost_its_files(tmp_path: Path) -> None:
    write(tmp_path / "ws" / "a")
    it = tree(tmp_path / "ws")
    (tmp_path / "ws").rename(tmp_path / "away")
    assert not it.look()
    (tmp_path / "away").rename(tmp_path / "ws")
    assert not it.look()
    assert it.files == 1


def test_a_tree_that_is_too_large_tells_nothing_until_it_is_not(tmp_path: Path) -> None:
    for number in range(5):
        write(tmp_path / str(number))
    it = tree(tmp_path, max_files=10)
    for number in range(20):
        write(tmp_path / "many" / str(number))
    it.look()
    assert it.is_too_large
    assert changes(it) == {}
    shutil.rmtree(tmp_path / "many")
    write(tmp_path / "new")
    it.look()
    assert not it.is_too_large
    assert changes(it) == {"new": "added"}


def test_a_tree_that_is_too_large_at_first_begins_when_it_is_not(tmp_path: Path) -> None:
    for number in range(20):
        write(tmp_path / str(number))
    it = Tree(Watch("f", "w", ("**",), "t"), str(tmp_path), max_files=10)
    it.look()
    assert (it.is_too_large, it.is_known) == (True, False)
    for number in range(15):
        (tmp_path / str(number)).unlink()
    it.look()
    assert it.is_known
    assert changes(it) == {}


def test_what_an_earlier_process_told_is_compared_with_what_is_there(tmp_path: Path) -> None:
    for name in ("gone/a", "changed", "same"):
        write(tmp_path / name)
    told = list(tree(tmp_path).told())
    shutil.rmtree(tmp_path / "gone")
    write(tmp_path / "changed", "more")
    write(tmp_path / "new")
    later = Tree(Watch("f", "w", ("**",), "t"), str(tmp_path), before=told)
    assert later.look()
    assert changes(later) == {"gone/a": "deleted", "changed": "modified", "new": "added"}


def test_with_other_patterns_what_comes_into_view_is_no_news(tmp_path: Path) -> None:
    write(tmp_path / "src" / "a")
    write(tmp_path / "docs" / "b")
    told = list(tree(tmp_path, "src/**").told())
    write(tmp_path / "src" / "new.md")
    later = Tree(
        Watch("f", "w", ("docs/**", "*.md"), "t"),
        str(tmp_path),
        before=told,
        was_meant=lambda path: path.startswith("src/"),
    )
    later.look()
    assert changes(later) == {"src/new.md": "added"}
    assert {path for path, _ in later.told()} == {"docs/b", "src/new.md"}


def test_a_write_in_the_same_tick_as_the_telling_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write(path, "1")
    it = tree(tmp_path)
    write(path, "2")
    it.look_at([str(path)])
    status = path.stat()
    assert [found.change for found in it.take(is_quiet=False)] == ["modified"]
    write(path, "3")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # as if the clock had not ticked
    assert it.look_at([str(path)])
    assert changes(it) == {"a": "modified"}
    assert not it.look_at([str(path)])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look into every folder")
def test_a_folder_that_may_not_be_looked_into_keeps_its_files(tmp_path: Path) -> None:
    write(tmp_path / "closed" / "a")
    it = tree(tmp_path)
    (tmp_path / "closed").chmod(0)
    try:
        it.look()
        assert changes(it) == {}
        assert it.unreadable == {"closed"}
        assert set(it.standing) == {str(tmp_path)}
    finally:
        (tmp_path / "closed").chmod(0o755)
    it.look()
    assert changes(it) == {}
    assert it.unreadable == set()


# --- any sequence of changes, seen by any mixture of looks ------------------------------------------------------------

_NAMES = ("a", "b", "gen", "x.o")
_PATHS = st.lists(st.sampled_from(_NAMES), min_size=1, max_size=3).map("/".join)
_DOINGS = st.lists(
    st.tuples(st.sampled_from(["write", "remove", "mkdir", "move", "link", "look", "look_at"]), _PATHS, _PATHS),
    max_size=25,
)


def _remove(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)


def _do(what: str, one: Path, other: Path, number: int) -> list[Path]:
    """Do something. What is reported of it, as the system does: of a folder that comes, not what is in it."""
    if what == "remove":
        inside = list(one.rglob("*")) if one.is_dir() and not one.is_symlink() else []
        _remove(one)
        return [one, *inside]
    if any(above.is_symlink() or above.is_file() for above in (*one.parents, *other.parents)):
        return []
    if what == "write" and not one.is_dir() and not one.is_symlink():
        made = next((above for above in reversed(one.parents) if not above.exists()), one)
        write(one, "x" * number)
        return [made]
    if what == "mkdir" and not one.exists() and not one.is_symlink():
        made = next((above for above in reversed(one.parents) if not above.exists()), one)
        one.mkdir(parents=True)
        return [made]
    if what == "move" and one.exists() and not other.exists() and not other.is_symlink() and one not in other.parents:
        made = next((above for above in reversed(other.parents) if not above.exists()), other)
        other.parent.mkdir(parents=True, exist_ok=True)
        one.rename(other)
        return [one, made]
    if what == "link" and one.parent.is_dir() and not one.exists() and not one.is_symlink():
        one.symlink_to(f"target{number}")
        return [one]
    return []


def _truth(top: Path, is_meant: Callable[[str], bool]) -> dict[str, tuple[int, int, int]]:
    found = {}
    for folder, _, names in os.walk(top):
        links = [name for name in os.listdir(folder) if os.path.islink(os.path.join(folder, name))]
        for name in {*names, *links}:
            path = os.path.relpath(os.path.join(folder, name), top)
            if is_meant(path):
                status = os.lstat(os.path.join(folder, name))
                found[path] = (status.st_mtime_ns, status.st_size, status.st_ino)
    return found


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=_DOINGS, doings=_DOINGS)
def test_whatever_changes_and_however_it_is_seen_the_difference_is_told(
    before: list[tuple[str, str, str]], doings: list[tuple[str, str, str]], tmp_path: Path
) -> None:
    top = tmp_path / "ws"
    shutil.rmtree(top, ignore_errors=True)
    top.mkdir()
    write(top / ".gitignore", "*.o\n")

    def is_meant(path: str) -> bool:
        return "x.o" not in path.split("/") and not path.startswith("gen/")

    for number, (what, one, other) in enumerate(before):
        _do(what, top / one, top / other, number)
    it = tree(top, "**", "!gen/**")
    was = _truth(top, is_meant)
    assert {path for path, _ in it.told()} == set(was)
    reports: list[Path] = []
    for number, (what, one, other) in enumerate(doings):
        if what == "look":
            it.look()
            reports.clear()
        elif what == "look_at":
            it.look_at([str(path) for path in reports])
            reports.clear()
        else:
            reports += _do(what, top / one, top / other, 100 + number)
    it.look_at([str(path) for path in reports])
    now = _truth(top, is_meant)
    wanted = dict.fromkeys(now.keys() - was.keys(), "added")
    wanted |= dict.fromkeys(was.keys() - now.keys(), "deleted")
    wanted |= {path: "modified" for path in now.keys() & was.keys() if now[path] != was[path]}
    assert changes(it) == wanted
    assert {path for path, _ in it.told()} == set(now)
    assert not it.look()
    assert it.files == len(now)
