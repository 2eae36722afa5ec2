"""A state that was copied, cloned or moved: whose processes and queued runs are whose."""

import json
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from daemon_rig import Workspace, about_the_file, say, until
from doctor_rig import doctor

pytestmark = about_the_file

WAIT = "while [ ! -e go ]; do sleep 0.05; done"


@pytest.fixture
def copy(place: Workspace) -> Iterator[Workspace]:
    """Where the workspace is copied to."""
    it = Workspace(place.path.with_name(f"{place.path.name}-copy"))
    yield it
    it.clean_up()
    for left in it.path.parent.glob(f"{it.path.name.removesuffix('-copy')}-*"):
        shutil.rmtree(left, ignore_errors=True)


def dispatch(place: Workspace, flow: str, id_: str = "e") -> str:
    (run_id,) = place.call("flow.dispatch", event={"id": id_, "type": f"{flow}.go", "payload": {}})["runIds"]
    return str(run_id)


def run_of(place: Workspace, run_id: str) -> dict[str, object]:
    found: dict[str, object] = place.call("flow.getRun", runId=run_id)["run"]
    return found


def leave_running(place: Workspace) -> tuple[str, psutil.Process]:
    """A step that runs, one that is queued behind it, and a daemon that was killed."""
    place.flow("slow", f"{WAIT}; {say('changed')}", step="[steps.retry]\nmax_attempts = 3\non = ['interrupted']\n")
    place.start(FLOWD_MAX_PARALLEL="1")
    run_id = dispatch(place, "slow")
    pid = until(lambda: run_of(place, run_id)["attempts"][0].get("pid"), what="the step's pid")  # type: ignore[index]
    dispatch(place, "slow", "behind")
    assert place.process is not None
    return run_id, psutil.Process(pid)


def cp(place: Workspace, copy: Workspace) -> None:
    subprocess.run(["cp", "-a", place.path, copy.path], check=True)


@pytest.mark.parametrize("is_killed", [True, False], ids=["its daemon is killed", "its daemon runs"])
def test_a_copys_daemon_leaves_the_originals_step_alone(place: Workspace, copy: Workspace, is_killed: bool) -> None:
    run_id, step = leave_running(place)
    cp(place, copy)
    if is_killed:
        place.kill()
    found = doctor(copy.path)["by_check"]
    assert f"it was copied from {place.path}/.codex/flowd" in found["state.place"]["found"]
    copy.start()
    assert "this state is another's history" in copy.log()
    run = run_of(copy, run_id)
    assert (run["status"], run["reason"]) == ("failed", "interrupted")
    assert run["attemptCount"] == 1, "it is no retry's business"
    assert copy.call("flow.listRuns", status="running")["runs"] == []
    with copy.client() as client, pytest.raises(Exception, match="ended already"):
        client.cancel_run(run_id)
    assert copy.process is not None
    copy.process.send_signal(signal.SIGTERM)
    copy.process.send_signal(signal.SIGTERM)
    assert copy.process.wait(60) == 0
    doctor(copy.path, "--repair")
    assert step.is_running()
    assert step.status() != psutil.STATUS_ZOMBIE
    if is_killed:
        place.start()
    (place.path / "flows/slow/go").touch()
    run = place.call("flow.waitRun", runId=run_id)["run"]
    assert (run["effectiveStatus"], run["attemptCount"]) == ("changed", 1)


@pytest.mark.parametrize("is_by_client", [False, True], ids=["daemon.resume", "client"])
def test_what_is_queued_in_a_copy_waits_for_a_person_and_the_rest_goes_on(
    place: Workspace, copy: Workspace, *, is_by_client: bool
) -> None:
    leave_running(place)
    cp(place, copy)
    (copy.path / "flows/slow/go").touch()
    copy.start()
    (held,) = copy.call("flow.listRuns", status="queued")["runs"]
    assert held["waitingFor"] == {"why": "foreign"}
    fresh = dispatch(copy, "slow", "fresh")
    assert copy.call("flow.waitRun", runId=fresh)["run"]["effectiveStatus"] == "changed"
    assert run_of(copy, held["id"])["status"] == "queued"
    assert copy.stop() == 0
    copy.start()  # the state is the copy's own now, and still nobody has said so
    assert run_of(copy, held["id"])["waitingFor"] == {"why": "foreign"}
    assert "1 run waits for a person" in doctor(copy.path)["by_check"]["state.place"]["found"]
    if is_by_client:
        with copy.client() as client:
            assert client.resume().runs == 1
    else:
        assert copy.call("daemon.resume") == {"runs": 1}
    assert copy.call("flow.waitRun", runId=held["id"])["run"]["effectiveStatus"] == "changed"
    assert copy.call("daemon.resume") == {"runs": 0}


def in_a_clone(source: Path, target: Path) -> None:
    git_clone(source, target)


def in_a_clone_that_was_foreseen(source: Path, target: Path) -> None:
    """With the record of a place that is this one's, as far as one can know it beforehand."""
    record = {"inode": 1, "path": f"{target.resolve()}/.codex/flowd", "machine": ""}
    (source / ".codex/flowd/place.json").write_text(json.dumps(record))
    git_clone(source, target)


def in_a_submodule(source: Path, target: Path) -> None:
    commit(source)
    outer = source.with_name(f"{source.name}-outer")
    outer.mkdir()
    subprocess.run(["git", "init", "--quiet", outer], check=True)
    allowed = ["git", "-c", "protocol.file.allow=always"]
    subprocess.run([*allowed, "-C", outer, "submodule", "--quiet", "add", source, "inner"], check=True)
    commit(outer)
    closed(*allowed, "clone", "--quiet", "--recurse-submodules", outer, f"{target}-outer")
    Path(f"{target}-outer/inner").rename(target)
    (target / ".git").write_text(f"gitdir: {target}-outer/.git/modules/inner\n")


def in_a_clone_with_a_short_index(source: Path, target: Path) -> None:
    """Version 4 of the index writes of each path what the one before has not."""
    (source / ".codex/flowd/flowd.da").touch()
    commit(source)
    closed("git", "-c", "index.version=4", "clone", "--quiet", source, target)


def commit(folder: Path) -> None:
    git = ["git", "-c", "user.name=m", "-c", "user.email=m@example.org", "-C", str(folder)]
    subprocess.run(["git", "init", "--quiet", folder], check=True)
    subprocess.run([*git, "add", "--all"], check=True)
    subprocess.run([*git, "commit", "--quiet", "-m", "m"], check=True)


def git_clone(source: Path, target: Path) -> None:
    commit(source)
    closed("git", "clone", "--quiet", source, target)


def closed(*words: str | Path) -> None:
    """Run a command with a umask of 077: what it makes has the modes of flowd's own."""
    subprocess.run(["sh", "-c", 'umask 077; exec "$@"', "sh", *words], check=True)


@pytest.mark.parametrize(
    "clone", [in_a_clone, in_a_clone_that_was_foreseen, in_a_submodule, in_a_clone_with_a_short_index]
)
def test_what_is_queued_in_a_clone_waits_for_a_person(
    place: Workspace, copy: Workspace, clone: Callable[[Path, Path], None]
) -> None:
    """As somebody who prepares a clone would have it."""
    source = place.path
    marker = place.path.with_name(f"{place.path.name}-ran")
    place.flow("evil", f"touch {marker}; {say('changed')}")
    place.start()
    place.call("daemon.drain")
    run_id = dispatch(place, "evil")
    place.stop()
    (source / ".codex/flowd/.gitignore").unlink()
    (source / ".codex/flowd/place.json").unlink()
    clone(source, copy.path)
    copy.start()
    assert run_of(copy, run_id)["waitingFor"] == {"why": "foreign"}
    assert "git" in copy.log()
    assert not marker.exists()


def moved(place: Workspace, copy: Workspace) -> Workspace:
    place.path.rename(copy.path)
    place.path.mkdir()
    return copy


def restored(place: Workspace, _: Workspace) -> Workspace:
    """Its state from a backup, in its place: other inodes."""
    state = place.path / ".codex/flowd"
    subprocess.run(["cp", "-a", state, state.with_name("backup")], check=True)
    state.rename(state.with_name("gone"))
    state.with_name("backup").rename(state)
    return place


def of_before(place: Workspace, _: Workspace) -> Workspace:
    """As the version before left it, which kept no record of the place."""
    (place.path / ".codex/flowd/place.json").unlink()
    return place


def on_another_machine_id(place: Workspace, _: Workspace) -> Workspace:
    """A container's is new with every start."""
    record = place.path / ".codex/flowd/place.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "machine": "f" * 32}))
    return place


@pytest.mark.parametrize("change", [moved, restored, of_before, on_another_machine_id])
def test_a_state_stays_its_own(
    place: Workspace, copy: Workspace, change: Callable[[Workspace, Workspace], Workspace]
) -> None:
    run_id, step = leave_running(place)
    place.kill()
    where = change(place, copy)
    where.start(FLOWD_MAX_PARALLEL="1")
    assert "another's history" not in where.log()
    assert run_of(where, run_id)["status"] == "running"
    (queued,) = where.call("flow.listRuns", status="queued")["runs"]
    assert queued["waitingFor"] == {"place": 1}
    (where.path / "flows/slow/go").touch()
    assert where.call("flow.waitRun", runId=run_id)["run"]["attemptCount"] == 1
    assert where.call("flow.waitRun", runId=queued["id"])["run"]["effectiveStatus"] == "changed"
    assert not step.is_running()
