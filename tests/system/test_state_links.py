"""Links in the place of flowd's state: git stores them, so a clone may hold any. What they lead to stays as it is."""

import os
import subprocess
from pathlib import Path

import pytest
from daemon_rig import Workspace

from flowd.doctor.checkup import examine
from flowd.state import folder as state_folder

LONG = "w" * 60 + "/" + "x" * 60
"""A workspace below it has a socket path that is too long, so a pointer file is written."""

INSIDE = (
    "daemon.lock",
    "flowd.db",
    "flowd.db-wal",
    "flowd.db.before-schema-2",
    "flowd.sock",
    "flowd.sock.path",
    ".gitignore",
    "anything-at-all",
    "output",
    "keeper",
    "keeper/keeper.lock",
    "keeper/keeper.journal",
    "keeper/keeper.journal.new",
    "keeper/keeper.log",
    "keeper/keeper.sock",
    "keeper/stdin.tmp",
    "keeper/units",
    "keeper/units/some.note",
    "reach/bin",
    "reach/bin/flowd",
    "reach/python",
    "rounds",
    "rounds/some.json",
)


def clone(source: Path, target: Path) -> None:
    """What git makes of a repository that somebody else has prepared, links and all."""
    git = ("git", "-c", "user.name=m", "-c", "user.email=m@example.org", "-c", "safe.directory=*", "-C", source)
    subprocess.run(["git", "init", "--quiet", source], check=True)
    subprocess.run([*git, "add", "--all", "--force"], check=True)
    subprocess.run([*git, "commit", "--quiet", "--message", "m"], check=True)
    subprocess.run(["git", "clone", "--quiet", source, target], check=True)


def refusal(workspace: Path) -> str:
    """Start a daemon, which must refuse, and return what it says."""
    place = Workspace(workspace)
    try:
        with pytest.raises(AssertionError, match="the daemon ended") as raised:
            place.start()
    finally:
        place.clean_up()
    assert place.process is not None
    assert place.process.returncode == 78
    return str(raised.value)


@pytest.mark.parametrize("long", [False, True], ids=["short", "long"])
@pytest.mark.parametrize("name", ["daemon.lock", "flowd.sock.path", "flowd.db"])
def test_a_clone_with_a_link_is_refused_by_name(tmp_path: Path, name: str, long: bool) -> None:
    mine = tmp_path / "authorized_keys"
    mine.write_text("ssh-ed25519 mine\n")
    link = tmp_path / "source/.codex/flowd" / name
    link.parent.mkdir(parents=True)
    link.symlink_to(mine)
    workspace = tmp_path / LONG / "clone" if long else tmp_path / "clone"
    clone(tmp_path / "source", workspace)
    said = refusal(workspace)
    assert f"{workspace}/.codex/flowd/{name} is a link, to {mine}" in said
    assert mine.read_text() == "ssh-ed25519 mine\n"
    (found,) = [finding for finding in examine(workspace, {}) if finding.check == "state.links"]
    assert found.level == "fail"


def test_a_state_folder_that_is_a_link_is_left_as_it_is(tmp_path: Path) -> None:
    public = tmp_path / "public"
    public.mkdir(mode=0o755)
    source = tmp_path / "source/.codex"
    source.mkdir(parents=True)
    (source / "flowd").symlink_to(public)
    clone(tmp_path / "source", tmp_path / "clone")
    assert f"clone/.codex/flowd is a link, to {public}" in refusal(tmp_path / "clone")
    assert list(public.iterdir()) == []
    assert public.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("name", INSIDE)
@pytest.mark.parametrize("leads", ["to a file", "nowhere"])
def test_every_link_in_the_folder_is_refused(tmp_path: Path, name: str, leads: str) -> None:
    state, target = tmp_path / "ws/.codex/flowd", tmp_path / "target"
    if leads == "to a file":
        target.write_text("mine")
    (state / name).parent.mkdir(parents=True)
    (state / name).symlink_to(target)
    with pytest.raises(state_folder.StateError, match=f"{name} is a link, to {target}, and flowd follows none"):
        state_folder.prepare(state, tmp_path / "ws")
    assert os.path.lexists(target) == (leads == "to a file")
    assert not target.exists() or target.read_text() == "mine"


def test_a_folder_on_the_way_that_is_a_link_is_refused_and_one_above_the_workspace_is_not(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "ws").mkdir()
    (tmp_path / "ws/.codex").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(state_folder.StateError, match=r"/ws/\.codex is a link"):
        state_folder.prepare(tmp_path / "ws/.codex/flowd", tmp_path / "ws")
    assert list((tmp_path / "elsewhere").iterdir()) == []
    (tmp_path / "above").symlink_to(tmp_path / "elsewhere")
    state_folder.prepare(tmp_path / "above/state", tmp_path / "ws")


def test_a_state_folder_that_only_the_workspace_names_must_be_empty(tmp_path: Path) -> None:
    public = tmp_path / "public"
    public.mkdir(mode=0o755)
    (public / "page.html").touch()
    codex = tmp_path / "ws/.codex"
    codex.mkdir(parents=True)
    (codex / "flowd.toml").write_text('state_dir = "../public"\n')
    assert "has things in it that are not flowd's" in refusal(tmp_path / "ws")
    assert [path.name for path in public.iterdir()] == ["page.html"]
    assert public.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("name", ["keeper", "output", "daemon.lock", "flowd.db", "place.json", "flowd.sock.path"])
def test_what_has_a_name_of_flowds_and_another_kind_is_found_by_doctor(tmp_path: Path, name: str) -> None:
    wrong = tmp_path / ".codex/flowd" / name
    wrong.parent.mkdir(parents=True, mode=0o700)
    wrong.touch() if name in ("keeper", "output") else wrong.mkdir()
    refusal(tmp_path)
    (found,) = [finding for finding in examine(tmp_path, {}) if finding.check == "state.shape"]
    assert found.level == "fail"
    assert str(wrong) in found.found
