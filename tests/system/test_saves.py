"""A day of real saves: files are saved as people's programs do it, and a mirror that a flow keeps must become the same.

``SAVES`` says how many saves, at random (`make saves`); without it there is one of each kind. The programs themselves
are used where they are installed; what an editor that is not does to its files is done by the same system calls.
"""

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from daemon_rig import Workspace, until

Save = Callable[[Path, str], None]
"""Saves a text to a file of the tree."""

FLOW = """
name = "mirror"
version = 1

[[watches]]
name = "all"
paths = ["**", "!flows/**"]
type = "tree.changed"
settle_ms = 100

[[steps]]
name = "copy"
runner = "python"
script = "copy_changes.py"
[steps.trigger]
type = "tree.changed"
[steps.concurrency]
"""

STEP = """
import json, os, shutil, sys
event = json.load(sys.stdin)["flow"]["event"]
tree, mirror = {tree!r}, {mirror!r}
assert not event["payload"].get("truncated"), "the tree is small"
for change in event["payload"]["changes"]:
    there, here = os.path.join(tree, change["path"]), os.path.join(mirror, change["path"])
    if not os.path.lexists(there):
        if os.path.lexists(here):
            os.unlink(here)
        continue
    os.makedirs(os.path.dirname(here), exist_ok=True)
    if os.path.lexists(here):
        os.unlink(here)
    try:
        shutil.copy2(there, here, follow_symlinks=False)
    except FileNotFoundError:
        pass  # another event tells of that
print('FLOW_RESULT {{"status": "changed"}}')
"""


def run(*words: str, at: Path | None = None) -> None:
    environ = {**os.environ, "HOME": "/nonexistent", "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
    done = subprocess.run(words, cwd=at, env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, (words, done.stdout, done.stderr)


# --- how programs save ------------------------------------------------------------------------------------------------


def in_place(file: Path, text: str) -> None:
    """Visual Studio Code, nano, and a shell's ``>``: truncate and write."""
    file.write_text(text)


def atomically(file: Path, text: str) -> None:
    """JetBrains, gedit, kate: another file beside it, synced, then a rename."""
    other = file.with_name(f".{file.name}.tmp~")
    with other.open("w") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    other.replace(file)


def like_vim(file: Path, text: str) -> None:
    """vim with backupcopy=no: the old file is renamed to the backup, a new one is written, the backup is removed."""
    swap, backup = file.with_name(f".{file.name}.swp"), file.with_name(f"{file.name}~")
    swap.write_text("swap")
    if file.exists():
        file.rename(backup)
    file.write_text(text)
    backup.unlink(missing_ok=True)
    swap.unlink()


def vim(file: Path, text: str) -> None:
    _vim(file, text, "set backupcopy=no writebackup")


def vim_copying(file: Path, text: str) -> None:
    _vim(file, text, "set backupcopy=yes writebackup")


def vim_with_backups(file: Path, text: str) -> None:
    _vim(file, text, "set backup backupcopy=auto")


def _vim(file: Path, text: str, how: str) -> None:
    if not shutil.which("vim"):
        like_vim(file, text)
        return
    put = "call setline(1, split($NEW_TEXT, '\\n'))"
    words = ["vim", "-Nu", "NONE", "-i", "NONE", "-es", "-c", how, "-c", "%d", "-c", put, "-c", "wq!", str(file)]
    done = subprocess.run(words, env={**os.environ, "NEW_TEXT": text, "TERM": "dumb"}, timeout=60, capture_output=True)
    assert file.read_text() == text, done


def like_emacs(file: Path, text: str) -> None:
    """emacs: a lock that is a link to nowhere, the old file renamed to the backup, a new one written."""
    lock, backup = file.with_name(f".#{file.name}"), file.with_name(f"{file.name}~")
    lock.symlink_to("somebody@host.1234:5678")
    if file.exists() and not backup.exists():
        file.rename(backup)
    file.write_text(text)
    lock.unlink()


def emacs(file: Path, text: str) -> None:
    if not shutil.which("emacs"):
        like_emacs(file, text)
        return
    lisp = (
        '(progn (setq create-lockfiles t make-backup-files t) (find-file (getenv "SAVED")) (erase-buffer)'
        ' (insert (getenv "NEW_TEXT")) (save-buffer) (kill-emacs))'
    )
    environ = {**os.environ, "NEW_TEXT": text, "SAVED": str(file), "TERM": "dumb", "HOME": "/nonexistent"}
    subprocess.run(["emacs", "-Q", "--batch", "--eval", lisp], env=environ, timeout=60, capture_output=True)
    assert file.read_text() == text


def git_checkout(file: Path, text: str) -> None:
    """A branch with another state of the file, and of others, is checked out."""
    top = _top(file)
    branch = f"b{random.randrange(10**9)}"
    run("git", "add", "-A", at=top)
    run("git", "-c", "user.name=x", "-c", "user.email=x@x", "commit", "-qm", "before", "--allow-empty", at=top)
    run("git", "checkout", "-qb", branch, at=top)
    file.write_text(text)
    (file.parent / f"new-{branch}").write_text(text)
    run("git", "add", "-A", at=top)
    run("git", "-c", "user.name=x", "-c", "user.email=x@x", "commit", "-qm", "after", at=top)
    run("git", "checkout", "-q", "-", at=top)
    run("git", "checkout", "-q", branch, at=top)


def git_stash(file: Path, text: str) -> None:
    """What was changed is put away, and taken back."""
    file.write_text(text)
    top = _top(file)
    words = ("git", "-c", "user.name=x", "-c", "user.email=x@x", "stash")
    run(*words, "-q", "--include-untracked", at=top)
    run(*words, "pop", "-q", at=top)


def rsync(file: Path, text: str) -> None:
    """Another file beside it and a rename."""
    _rsync(file, text)


def rsync_in_place(file: Path, text: str) -> None:
    _rsync(file, text, "--inplace")


def _rsync(file: Path, text: str, *more: str) -> None:
    source = _top(file).with_name(f"{_top(file).name}-source")
    source.mkdir(exist_ok=True)
    (source / file.name).write_text(text)
    if shutil.which("rsync"):
        # Of times it compares the seconds: two saves of one size within one would be one to it.
        run("rsync", "-a", "--ignore-times", *more, f"{source}/{file.name}", f"{file.parent}/")
    elif more:
        in_place(file, text)
    else:
        atomically(file, text)
    shutil.rmtree(source)


def sed(file: Path, text: str) -> None:
    """``sed -i``, perl -i and formatters: another file in the folder, and a rename."""
    file.write_text("to be replaced\n")
    run("sed", "-i", f"s/.*/{text.strip()}/", str(file))


def moved_folder(file: Path, text: str) -> None:
    """A folder is moved away, changed, and moved back: `npm`, refactorings."""
    folder = file.parent
    away = folder.with_name(f"{folder.name}-moved")
    folder.rename(away)
    (away / file.name).write_text(text)
    away.rename(folder)


def new_folder(file: Path, text: str) -> None:
    """A folder of folders is removed, and made anew in one go."""
    text_of = {path.relative_to(file.parent): path.read_bytes() for path in file.parent.rglob("*") if path.is_file()}
    shutil.rmtree(file.parent)
    for path, content in text_of.items():
        (file.parent / path).parent.mkdir(parents=True, exist_ok=True)
        (file.parent / path).write_bytes(content)
    (file.parent / "deep" / "er").mkdir(parents=True, exist_ok=True)
    (file.parent / "deep" / "er" / file.name).write_text(text)
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)


WAYS: dict[str, Save] = {
    save.__name__: save
    for save in (
        in_place,
        atomically,
        like_vim,
        vim,
        vim_copying,
        vim_with_backups,
        like_emacs,
        emacs,
        git_checkout,
        git_stash,
        rsync,
        rsync_in_place,
        sed,
        moved_folder,
        new_folder,
    )
}


# --- the mirror -------------------------------------------------------------------------------------------------------


def _top(file: Path) -> Path:
    return next(above for above in file.parents if (above / ".git").is_dir())


def content(top: Path) -> dict[str, str]:
    """All that a watch of everything is about, with what is in it."""
    found: dict[str, str] = {}
    for folder, below, names in os.walk(top):
        below[:] = [name for name in below if name not in (".git", ".codex")]
        for name in names:
            path = Path(folder) / name
            key = str(path.relative_to(top))
            if key.split("/", maxsplit=1)[0] != "flows":
                found[key] = f"-> {path.readlink()}" if path.is_symlink() else path.read_text()
    return found


def told(place: Workspace) -> set[str]:
    paths: set[str] = set()
    cursor: dict[str, Any] = {}
    while True:
        page = place.call("flow.listEvents", limit=100, **cursor)
        for event in page["events"]:
            payload = place.call("flow.getEvent", eventId=event["id"])["event"]["payload"]
            paths |= {change["path"] for change in payload["changes"]}
        if not page.get("nextCursor"):
            return paths
        cursor = {"cursor": page["nextCursor"]}


@pytest.fixture
def mirrored(place: Workspace, tmp_path: Path) -> tuple[Workspace, Path]:
    """A workspace that is a checkout, with a flow that keeps a mirror of it."""
    place.log_path = tmp_path / "daemon.log"
    mirror = tmp_path / "mirror"
    package = place.path / "flows" / "mirror"
    package.mkdir(parents=True)
    (package / "flow.toml").write_text(FLOW)
    (package / "copy_changes.py").write_text(STEP.format(tree=str(place.path), mirror=str(mirror)))
    (place.path / ".gitignore").write_text("flows/\n.codex/\n")
    for name in ("a.txt", "src/b.txt", "src/lib/c.txt"):
        (place.path / name).parent.mkdir(parents=True, exist_ok=True)
        (place.path / name).write_text("first\n")
    run("git", "init", "-q", at=place.path)
    run("git", "add", "-A", at=place.path)
    run("git", "-c", "user.name=x", "-c", "user.email=x@x", "commit", "-qm", "first", at=place.path)
    shutil.copytree(place.path, mirror, ignore=shutil.ignore_patterns(".git", "flows", ".codex"))
    return place, mirror


def start(place: Workspace) -> None:
    place.start()
    until(lambda: place.call("flow.watches")["watches"][0]["status"] == "watching", what="a watch")


def is_same(place: Workspace, mirror: Path) -> bool:
    try:
        return content(place.path) == content(mirror)
    except FileNotFoundError:
        return False


def test_a_day_of_real_saves(mirrored: tuple[Workspace, Path]) -> None:
    place, mirror = mirrored
    start(place)
    chosen = random.Random(os.environ.get("SEED", "1"))
    ways = list(WAYS.values())
    count = int(os.environ.get("SAVES", "0"))
    if count:
        ways = chosen.choices(ways, k=count)
    for number, save in enumerate(ways):
        file = place.path / chosen.choice(["src/b.txt", "src/lib/c.txt"])
        save(file, f"{save.__name__} {number}\n")
        assert file.read_text() == f"{save.__name__} {number}\n"
        if count and chosen.random() < 0.1:
            place.kill()
            if chosen.random() < 0.5:
                chosen.choice(ways)(file, f"without a daemon {number}\n")
            place.start()
        elif not count or chosen.random() < 0.3:
            until(lambda: is_same(place, mirror), bound_s=60, what=f"a mirror after {save.__name__}")
    until(lambda: is_same(place, mirror), bound_s=60, what="a mirror in the end")
    until(lambda: not place.call("flow.watches")["watches"][0]["changing"], what="nothing more to tell")
    paths = told(place)
    assert not {path for path in paths if path.split("/")[0] in (".codex", ".git", "flows")}
    assert place.call("flow.watches")["watches"][0].get("problem") is None
    failed = place.call("flow.listRuns", status="failed", limit=10)["runs"]
    assert failed == []
    assert place.stop() == 0


def test_a_checkout_of_many_files_is_told_whole(mirrored: tuple[Workspace, Path]) -> None:
    place, mirror = mirrored
    words = ("git", "-c", "user.name=x", "-c", "user.email=x@x")
    run(*words, "checkout", "-qb", "many", at=place.path)
    for number in range(400):
        file = place.path / "src" / f"d{number % 40}" / f"{number}.txt"
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"{number}\n")
    run(*words, "add", "-A", at=place.path)
    run(*words, "commit", "-qm", "many", at=place.path)
    run(*words, "checkout", "-q", "-", at=place.path)
    start(place)
    run(*words, "checkout", "-q", "many", at=place.path)
    until(lambda: is_same(place, mirror), bound_s=60, what="a mirror of many")
    run(*words, "checkout", "-q", "-", at=place.path)
    until(lambda: is_same(place, mirror), bound_s=60, what="a mirror of few")
    assert place.stop() == 0


def test_programs_that_are_not_installed_are_named() -> None:
    """Says in the list of skipped tests which programs' saves were made by system calls alone."""
    missing = [name for name in ("vim", "emacs", "rsync") if not shutil.which(name)]
    if missing:
        pytest.skip(f"NOT TESTED with the programs themselves, but by the same system calls: {', '.join(missing)}")
    assert sys.platform.startswith("linux")
