"""What the settings of a cloned repository name outside of it: another workspace's state, and files of its owner's."""

import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from daemon_rig import Workspace, say, workspace

from flowd.state import place as state_place


@pytest.fixture
def clone() -> Iterator[Workspace]:
    with workspace() as it:
        yield it


def name(clone: Workspace, setting: str) -> None:
    (clone.path / ".codex").mkdir(exist_ok=True)
    (clone.path / ".codex/flowd.toml").write_text(setting)


def refused(clone: Workspace) -> str:
    with pytest.raises(AssertionError, match="the daemon ended") as raised:
        clone.start()
    return str(raised.value)


@pytest.mark.parametrize(
    ("state", "is_recorded"),
    [("elsewhere", True), (".codex/flowd", True), (".codex/flowd", False)],
    ids=["elsewhere", "in its usual place", "of an earlier flowd"],
)
def test_a_clone_does_not_take_over_anothers_state(
    place: Workspace, clone: Workspace, state: str, is_recorded: bool
) -> None:
    """Else what is queued there would run with the packages of the clone."""
    folder = place.path / state
    name(place, f'state_dir = "{state}"\n')
    place.flow("job", say("changed"))
    place.start()
    place.call("daemon.drain")
    (run_id,) = place.call("flow.dispatch", event={"id": "e", "type": "job.go"})["runIds"]
    place.stop()
    if not is_recorded:
        (folder / state_place.RECORD).unlink()
    clone.flow("job", f"touch {clone.path}/ran; {say('changed')}")
    name(clone, f'state_dir = "{folder}"\n')
    said = refused(clone)
    assert f"has the state of another one, {place.path.resolve()}" in said
    assert not (clone.path / "ran").exists()
    place.start()
    assert place.call("flow.waitRun", runId=run_id)["run"]["effectiveStatus"] == "changed"


def test_a_workspace_that_was_moved_keeps_a_state_outside(place: Workspace, clone: Workspace, tmp_path: Path) -> None:
    for each in (place, clone):
        name(each, f'state_dir = "{tmp_path}/state"\nsocket = "{each.path}/s"\n')
        each.socket = each.path / "s"
    place.start()
    place.stop()
    place.path.rename(place.path.with_name(f"{place.path.name}-gone"))
    clone.start()
    assert clone.stop() == 0
    place.path.with_name(f"{place.path.name}-gone").rename(place.path)


@pytest.mark.parametrize("depth", ["short", "d" * 60 + "/" + "e" * 60])
def test_a_socket_beside_a_file_leaves_it_alone(clone: Workspace, tmp_path: Path, depth: str) -> None:
    """A pointer to a socket has the socket's name and ``.path``, as the units of systemd for paths have."""
    mine = tmp_path / depth / "mine.path"
    mine.parent.mkdir(parents=True)
    mine.write_text("[Path]\nPathExists=/x\n")
    name(clone, f'socket = "{mine.with_suffix("")}"\n')
    clone.socket = mine.with_suffix("")
    if depth == "short":
        clone.start()
        assert clone.stop() == 0
    else:
        assert f"{mine} is in the way" in refused(clone)
    assert mine.read_text() == "[Path]\nPathExists=/x\n"


def pipe(path: Path) -> None:
    os.mkfifo(path)


def huge(path: Path) -> None:
    """As git stores it in a few bytes."""
    with path.open("wb") as file:
        file.truncate(64 << 30)


@pytest.mark.parametrize("make", [pipe, huge])
@pytest.mark.parametrize("file", ["flowd.toml", "flowd/flowd.sock.path"])
def test_a_file_that_is_no_small_one_holds_up_nobody(clone: Workspace, file: str, make: Callable[[Path], None]) -> None:
    path = clone.path / ".codex" / file
    path.parent.mkdir(parents=True)
    make(path)
    said = {}
    for verb in ("status", "runs", "doctor"):
        done = subprocess.run(
            [sys.executable, "-m", "flowd", verb, "-w", clone.path],
            capture_output=True,
            text=True,
            timeout=60,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30)),
        )
        said[verb] = done.stdout + done.stderr
        assert done.returncode in (0, 1, 3), done
    if file == "flowd.toml":
        assert f"{path}: it cannot be read" in said["doctor"]


@pytest.mark.parametrize("file", ["daemon.lock", "flowd.db"])
def test_a_pipe_in_the_state_folder_holds_up_nobody(clone: Workspace, file: str) -> None:
    path = clone.path / ".codex/flowd" / file
    path.parent.mkdir(mode=0o700, parents=True)
    pipe(path)
    for verb in ("status", "doctor"):
        argv = [sys.executable, "-m", "flowd", verb, "-w", clone.path]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
        assert done.returncode in (1, 3), done
    assert f"{path} is in the way: a file of flowd's has that name" in done.stdout
