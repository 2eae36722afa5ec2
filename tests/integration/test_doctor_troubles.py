"""`flowd doctor` on workspaces that are not fine. Every trouble is a real one, made by hand."""

import contextlib
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from daemon_rig import Workspace, say, until
from doctor_rig import doctor

from flowd.executors.direct.executor import mark_suffix

SLOW = f"echo $$ >pid; while [ ! -e go ]; do sleep 0.05; done; {say('changed')}"


def run_quick(place: Workspace) -> str:
    """A state folder with one run that has ended well, and no daemon. Returns the run's id."""
    place.flow("quick", f"echo hello; {say('changed')}")
    place.start()
    answer = place.call("flow.dispatch", event={"id": "e", "type": "quick.go", "payload": {}}, wait=True)
    assert place.stop() == 0
    return str(answer["runIds"][0])


def state(place: Workspace) -> Path:
    return place.path / ".codex" / "flowd"


def levels(answer: dict[str, Any]) -> dict[str, str]:
    return {finding["check"]: finding["level"] for finding in answer["findings"]}


# --- a daemon or keeper that was killed


def test_a_killed_daemons_socket_is_found_and_removed_on_request(place: Workspace) -> None:
    place.start()
    keeper = place.keeper_pid()
    place.kill()
    assert doctor(place.path)["by_check"]["daemon.socket"]["level"] == "warn"
    assert place.socket.exists()
    repaired = doctor(place.path, "--repair")["by_check"]["daemon.socket"]
    assert repaired["repaired"] == f"removed {place.socket}"
    assert not place.socket.exists()
    assert doctor(place.path)["by_check"]["daemon.socket"]["level"] == "ok"
    with contextlib.suppress(ProcessLookupError):  # without steps it may have ended by itself
        os.kill(keeper, signal.SIGTERM)


def test_a_pointer_to_a_dead_socket_is_removed(place: Workspace) -> None:
    run_quick(place)
    with socket.socket(socket.AF_UNIX) as dead:
        elsewhere = place.path / "dead.sock"
        dead.bind(str(elsewhere))
    pointer = state(place) / "flowd.sock.path"
    pointer.write_text(f"{elsewhere}\n")
    found = doctor(place.path, "--repair")["by_check"]
    assert found["daemon.pointer"]["repaired"] == f"removed {pointer}"
    assert found["daemon.socket"]["repaired"] == f"removed {elsewhere}"
    assert not pointer.exists()


def test_a_strangers_socket_is_never_removed(place: Workspace) -> None:
    run_quick(place)
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.bind(str(place.socket))
        stranger.listen()
        found = doctor(place.path, "--repair")["by_check"]["daemon.socket"]
        assert found["level"] == "warn"
        stranger.settimeout(0)
        with pytest.raises(BlockingIOError):
            stranger.accept()  # the doctor has not even knocked: behind a socket of systemd, that starts a daemon
        assert "something listens" in found["found"]
    assert place.socket.exists()


def test_steps_without_a_daemon_are_told_with_what_becomes_of_them(place: Workspace) -> None:
    place.flow("slow", SLOW)
    place.start()
    place.call("flow.dispatch", event={"id": "e", "type": "slow.go", "payload": {}})
    pid_file = place.path / "flows/slow/pid"
    until(lambda: pid_file.exists() and pid_file.read_text().strip(), what="the step's start")
    keeper = place.keeper_pid()
    place.kill()
    found = doctor(place.path)["by_check"]
    assert found["keeper"]["level"] == "warn"
    assert "without a daemon" in found["keeper"]["found"]
    assert "600 s" in found["keeper"]["remedy"]
    assert found["leftovers.processes"]["level"] == "ok"  # its run is running: the next daemon goes on with it
    os.kill(keeper, signal.SIGKILL)
    until(lambda: not os.path.exists(f"/proc/{keeper}"), what="the keeper's end")
    assert "it died with 1 running steps" in doctor(place.path)["by_check"]["keeper"]["found"]


# --- leftovers


def start_marked(place: Workspace, run_id: str, **environment: str) -> subprocess.Popen[bytes]:
    """A process that claims to be of a run, as one that escaped would."""
    mark = f"{run_id}@{mark_suffix(state(place) / 'keeper')}"
    return subprocess.Popen(["sleep", "300"], env={**os.environ, "FLOWD_MARK": f"outer@1234,{mark}", **environment})


def test_a_process_whose_run_has_ended_is_named_and_ended_on_request(place: Workspace) -> None:
    run_id = run_quick(place)
    with start_marked(place, run_id) as left, start_marked(place, "run_unknown") as unknown:
        checks = doctor(place.path)["by_check"]
        found = checks["leftovers.processes"]
        assert found["level"] == "warn"
        assert f"{unknown.pid} sleep of run_unknown" in checks["leftovers.unknown"]["found"]
        assert f"{left.pid} sleep of {run_id}" in found["found"]
        assert left.poll() is None
        repaired = doctor(place.path, "--repair")["by_check"]["leftovers.processes"]["repaired"]
        assert f"SIGTERM to {left.pid} sleep" in repaired
        assert left.wait(60) == -signal.SIGTERM
        assert unknown.poll() is None  # it may be what a pruned run has left on purpose
        unknown.kill()


def test_a_process_of_another_workspace_is_left_alone(place: Workspace, tmp_path: Path) -> None:
    run_id = run_quick(place)
    with subprocess.Popen(["sleep", "300"], env={**os.environ, "FLOWD_MARK": f"{run_id}@0123456789ab"}) as other:
        assert doctor(place.path, "--repair")["by_check"]["leftovers.processes"]["found"] == "none"
        assert other.poll() is None
        other.kill()


def test_output_files_that_the_database_holds_are_removed_and_no_others(place: Workspace) -> None:
    run_id = run_quick(place)
    database, folder = state(place) / "flowd.db", state(place) / "output"
    connection = sqlite3.connect(database)
    (held,) = connection.execute("SELECT stdout FROM attempts").fetchone()
    connection.execute("UPDATE attempts SET completed_at_ms = completed_at_ms - 3600000")
    connection.commit()
    connection.close()
    spare, changed = folder / f"{run_id}.stdout", folder / f"{run_id}.stderr"
    spare.write_bytes(held)
    changed.write_bytes(b"more than the database has")
    found = doctor(place.path, "--repair")["by_check"]["leftovers.output"]
    assert found["repaired"] == f"removed {spare.name}"
    assert not spare.exists()
    assert changed.exists()
    strange = folder / "run_strange.stdout"
    strange.write_bytes(b"whose is this?")
    os.utime(strange, (time.time() - 3600,) * 2)
    found = doctor(place.path, "--repair")["by_check"]["leftovers.output"]
    assert "does not know" in found["found"]
    assert "repaired" not in found
    assert strange.exists()


# --- state


def test_a_damaged_database_is_a_failure_and_is_left_as_it_is(place: Workspace) -> None:
    run_quick(place)
    database = state(place) / "flowd.db"
    data = bytearray(database.read_bytes())
    data[4096 * 3 : 4096 * 9] = os.urandom(4096 * 6)
    database.write_bytes(data)
    found = doctor(place.path, "--repair", code=1)["by_check"]
    assert found["database.integrity" if "database.integrity" in found else "database"]["level"] == "fail"
    assert database.read_bytes() == data
    database.write_bytes(b"this is no database" * 1000)
    answer = doctor(place.path, code=1)
    assert answer["by_check"]["database"]["level"] == "fail"
    assert "limits.files" in answer["by_check"], "a check that fails must not stop the others"


@pytest.mark.parametrize(
    ("statement", "part"),
    [("PRAGMA user_version = 9999", "this flowd knows"), ("PRAGMA application_id = 7", "is not flowd's")],
)
def test_a_database_of_somebody_else_is_told(place: Workspace, statement: str, part: str) -> None:
    run_quick(place)
    connection = sqlite3.connect(state(place) / "flowd.db")
    connection.execute(statement)
    connection.close()
    found = doctor(place.path, code=1)["by_check"]["database.schema"]
    assert found["level"] == "fail"
    assert part in found["found"]


def test_a_clock_that_was_set_back_is_told(place: Workspace) -> None:
    run_quick(place)
    connection = sqlite3.connect(state(place) / "flowd.db")
    connection.execute("UPDATE runs SET updated_at_ms = updated_at_ms + 86400000")
    connection.commit()
    connection.close()
    found = doctor(place.path)["by_check"]["clock.wall"]
    assert found["level"] == "warn"
    assert "set back" in found["remedy"]


@pytest.mark.parametrize(("mode", "level", "code"), [(0o770, "fail", 1), (0o750, "warn", 0), (0o700, "ok", 0)])
def test_a_state_folder_that_others_can_open_is_told(place: Workspace, mode: int, level: str, code: int) -> None:
    run_quick(place)
    state(place).chmod(mode)
    assert doctor(place.path, code=code)["by_check"]["state.folder"]["level"] == level


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="no tmpfs to write to")
def test_a_state_folder_in_memory_is_told(tmp_path: Path) -> None:
    folder = Path(f"/dev/shm/flowd-doctor-{os.getpid()}")
    folder.mkdir()
    try:
        found = doctor(tmp_path, FLOWD_STATE_DIR=str(folder))["by_check"]["state.disk"]
        assert (found["level"], "lost with the next boot" in found["found"]) == ("warn", True)
    finally:
        folder.rmdir()


# --- workspace, limits, secrets


def test_a_broken_package_and_a_missing_interpreter_are_told(place: Workspace) -> None:
    place.flow("fine", say("changed"))
    place.flow("needs", "console.log(1)", runner="bun")
    broken = place.flow("broken", say("changed"))
    (broken / "flow.toml").write_text('name = "broken"\nversion = 1\n[[steps]]\n')
    found = doctor(place.path, code=1, FLOWD_BUN="/nowhere/bun")["by_check"]
    assert "flow.toml" in found["package.broken"]["found"]
    assert found["runner.bun"]["level"] == "fail"
    assert "needs/main" in found["runner.bun"]["found"]
    assert "/nowhere/bun" in found["runner.bun"]["found"]


def test_too_few_open_files_for_max_parallel_are_told(tmp_path: Path) -> None:
    limited = f"ulimit -n 300; exec {sys.executable} -m flowd doctor -w {tmp_path}"
    done = subprocess.run(
        ["sh", "-c", limited], env={**os.environ, "FLOWD_MAX_PARALLEL": "200"}, capture_output=True, text=True
    )
    assert "warn  limits.files" in done.stdout, done.stderr
    assert "ulimit -n 456" in done.stdout


def test_variables_that_look_secret_are_named_but_never_shown(place: Workspace) -> None:
    place.path.joinpath(".codex").mkdir()
    settings = place.path / ".codex/flowd.toml"
    secret = "correct-horse-battery"
    found = doctor(place.path, DEMO_API_TOKEN=secret)
    assert "DEMO_API_TOKEN" in found["by_check"]["secrets.masking"]["remedy"]
    assert secret not in str(found)
    assert "DEMO_API_TOKEN" in found["by_check"]["secrets.inherited"]["found"]
    settings.write_text('[environment]\nwithhold = ["*_TOKEN"]\n')
    assert "DEMO_API_TOKEN" not in str(doctor(place.path, DEMO_API_TOKEN=secret))
    settings.write_text('[environment]\ninherit = ["PATH"]\n')
    assert doctor(place.path, DEMO_API_TOKEN=secret)["by_check"]["secrets.masking"]["level"] == "ok"
    settings.write_text('[environment]\ninherit = ["PATH", "DEMO_API_TOKEN"]\nredact = ["DEMO_API_TOKEN"]\n')
    assert doctor(place.path, DEMO_API_TOKEN=secret)["by_check"]["secrets.masking"]["found"] == "1 variables are masked"
    assert "fewer than 4" in doctor(place.path, DEMO_API_TOKEN="abc")["by_check"]["secrets.masking"]["found"]
    settings.chmod(0o666)
    assert "everybody can write" in doctor(place.path, code=1)["by_check"]["workspace.trust"]["found"]


def test_a_misspelt_variable_is_told_by_the_doctor_and_the_daemon(place: Workspace) -> None:
    finding = doctor(place.path, FLOWD_ON_STOPP="keep")["by_check"]["settings.variables"]
    assert (finding["level"], finding["found"]) == ("warn", "FLOWD_ON_STOPP sets nothing: did you mean FLOWD_ON_STOP?")
    place.start(FLOWD_ON_STOPP="keep")
    assert "FLOWD_ON_STOPP sets nothing" in place.log()
    assert place.stop() == 0


# --- a state folder that takes nothing


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """The folder, mounted over itself, read-only."""
    mounted = subprocess.run(["mount", "--bind", folder, folder], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("NOT TESTED: a read-only mount, because nothing can be mounted here (it needs root)")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True)
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.mounts
@pytest.mark.parametrize("is_new", [True, False])
def test_a_state_folder_on_a_read_only_mount_is_a_failure_as_the_daemon_cannot_start(
    tmp_path: Path, is_new: bool
) -> None:
    if not is_new:
        (tmp_path / ".codex/flowd").mkdir(parents=True, mode=0o700)
    with read_only(tmp_path):
        found = doctor(tmp_path, code=1)["by_check"]["state.folder"]
    assert found["level"] == "fail"
    assert "mounted read-only" in found["found"]


def test_a_schema_that_is_not_what_its_version_means_is_named(place: Workspace) -> None:
    run_quick(place)
    with contextlib.closing(sqlite3.connect(state(place) / "flowd.db", isolation_level=None)) as db:
        db.execute("DROP TABLE nonces")
    found = doctor(place.path, code=1)["by_check"]["database.schema"]
    assert (found["level"], "table nonces is missing" in found["found"]) == ("fail", True), found
