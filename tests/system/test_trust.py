"""What is trusted, and by whose word: workspaces of others are refused by every verb, with real other users."""

import json
import os
import socket
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from other_users import ALICE, MALLORY, PYTHON, PYTHONPATH, event_file, give, needs_root, package, run_as, write

from flowd.state import ownership

pytestmark = needs_root

VERBS = (
    ("doctor",),
    ("fire", "{event}"),
    ("exec", "mine", "main", "{event}"),
    ("new", "fresh"),
    ("dispatch", "{event}"),
    ("status",),
    ("runs",),
    ("serve",),
    ("validate",),
    ("explain", "{event}"),
    ("import",),
    ("service", "end-steps"),
)


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A folder like /tmp, where everybody may write and nobody can touch what is another's."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.geteuid() and stat.S_IMODE(folder.stat().st_mode) & 0o055 != 0o055:
            folder.chmod(0o755)
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    return shared


@pytest.fixture
def trap(shared: Path) -> Path:
    """Mallory's settings in the shared folder, which everybody below it finds; the file that shows that they ran."""
    ran = shared / "ran"
    program = write(shared / ".codex/python", f"#!/bin/sh\ntouch {ran}\necho Python 3.12.1\n", mode=0o755)
    write(shared / ".codex/flowd.toml", f'[runners]\npython = "{program}"\n')
    give(shared / ".codex", MALLORY)
    return ran


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb[0])
def test_another_users_settings_found_upwards_are_refused(shared: Path, trap: Path, verb: tuple[str, ...]) -> None:
    below = shared / "alice/project"
    below.mkdir(parents=True)
    event = event_file(below / "event.json", id="e", type="mine.go")
    give(shared / "alice", ALICE)
    words = [word.format(event=event) for word in verb]
    done = run_as(ALICE, *words, cwd=below)
    said = done.stdout + done.stderr
    assert done.returncode not in (0, 70), said
    assert f"{shared}/.codex belongs to user {MALLORY}" in said
    assert f"flowd trust {shared}" in said
    assert "FLOWD_TRUST" in said
    assert not trap.exists()


def test_another_users_socket_gets_no_event(shared: Path) -> None:
    state = shared / ".codex/flowd"
    state.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(state / "flowd.sock"))
        (state / "flowd.sock").chmod(0o777)
        listener.listen()
        listener.settimeout(0)
        give(shared / ".codex", MALLORY)
        event = event_file(shared / "event.json", id="e", type="t", payload={"secret": 1})
        done = run_as(ALICE, "dispatch", event, cwd=shared)
        assert done.returncode == 5, done.stderr
        assert "is not trusted" in done.stderr
        with pytest.raises(BlockingIOError):
            listener.accept()


def made(shared: Path, name: str = "work") -> Path:
    """A workspace of Alice's with one package."""
    workspace = shared / name
    package(workspace, "mine")
    (workspace / ".codex").mkdir()
    write(workspace / ".codex/flowd.toml", "max_parallel = 2\n")
    return give(workspace, ALICE)


def fire(workspace: Path, uid: int = ALICE, **environment: str) -> tuple[int, str]:
    event = event_file(workspace.parent / "event.json", id="e", type="mine.go")
    done = run_as(uid, "fire", event, "-w", workspace, **environment)
    return done.returncode, done.stdout + done.stderr


def test_ones_own_workspace_is_trusted_and_so_is_roots(shared: Path) -> None:
    workspace = made(shared)
    assert fire(workspace)[0] == 0
    give(workspace, 0)
    assert fire(workspace)[0] == 0


def chown_package(workspace: Path) -> None:
    give(workspace / "flows/mine", MALLORY)


def chown_script(workspace: Path) -> None:
    os.chown(workspace / "flows/mine/main.sh", MALLORY, MALLORY)


@pytest.mark.parametrize("spoil", [chown_package, chown_script])
def test_another_users_package_does_not_run(shared: Path, spoil: object) -> None:
    workspace = made(shared)
    spoil(workspace)  # type: ignore[operator]
    _, said = fire(workspace)
    assert f"belongs to user {MALLORY}" in said
    assert json.loads(said.splitlines()[0])["results"] == []


def linked(workspace: Path) -> None:
    """Settings that lie where somebody else can write."""
    elsewhere = workspace.parent / "mallory"
    elsewhere.mkdir()
    (workspace / ".codex/flowd.toml").rename(elsewhere / "flowd.toml")
    give(elsewhere, MALLORY)
    os.chown(elsewhere / "flowd.toml", ALICE, ALICE)
    (workspace / ".codex/flowd.toml").symlink_to(elsewhere / "flowd.toml")


SPOILT = {
    "a workspace for all": lambda w: w.chmod(0o777),
    "settings for all": lambda w: (w / ".codex/flowd.toml").chmod(0o666),
    "packages for all": lambda w: (w / "flows").chmod(0o777),
    "a group's": lambda w: (os.chown(w, ALICE, MALLORY), w.chmod(0o770)),
    "a group's settings": lambda w: (os.chown(w / ".codex", -1, 4), (w / ".codex").chmod(0o775)),
    "a parent for all": lambda w: w.parent.chmod(0o777),
    "another's parent": lambda w: os.chown(w.parent, MALLORY, MALLORY),
    "settings through another's link": linked,
}


@pytest.mark.parametrize("name", SPOILT)
def test_what_others_can_write_is_refused(shared: Path, name: str) -> None:
    workspace = made(shared)
    SPOILT[name](workspace)
    code, said = fire(workspace)
    assert code == 5, said
    assert "is not trusted" in said
    assert fire(workspace, FLOWD_TRUST=f"/elsewhere:{workspace}")[0] == 0


def test_a_person_may_say_otherwise_and_take_it_back(shared: Path, tmp_path: Path) -> None:
    workspace = made(shared)
    workspace.chmod(0o777)
    home = tmp_path / "home"
    home.mkdir()
    give(home, ALICE)
    assert fire(workspace, FLOWD_TRUST=f"{workspace.parent}/*")[0] == 0
    assert fire(workspace, FLOWD_TRUST="*")[0] == 0
    assert fire(workspace, FLOWD_TRUST=f"{workspace}/below:{workspace}er")[0] == 5
    told = run_as(ALICE, "trust", workspace, home=home)
    assert told.returncode == 0, told.stderr
    assert fire(workspace, HOME=str(home))[0] == 0
    assert run_as(ALICE, "trust", "--list", home=home).stdout == f"{workspace}\n"
    assert run_as(ALICE, "trust", "--remove", workspace, home=home).returncode == 0
    assert fire(workspace, HOME=str(home))[0] == 5


def test_a_umask_of_002_is_fine(shared: Path) -> None:
    workspace = made(shared)
    for path in (workspace, *workspace.rglob("*")):
        path.chmod(path.stat().st_mode | 0o020)
    code, said = fire(workspace)
    assert code == 0, said


def test_a_list_of_trusted_workspaces_that_others_can_write_trusts_nobody(shared: Path, tmp_path: Path) -> None:
    workspace = made(shared)
    workspace.chmod(0o777)
    write(tmp_path / "home/.config/flowd/trusted", f"{workspace}\n", mode=0o666)
    give(tmp_path / "home", ALICE)
    code, said = fire(workspace, HOME=str(tmp_path / "home"))
    assert code == 5
    assert "The list of trusted workspaces is not to be trusted" in said


def test_a_workspace_cannot_vouch_for_itself(shared: Path, trap: Path) -> None:
    write(shared / ".codex/trusted", f"{shared}\n")
    write(shared / ".codex/flowd.toml", f'trust = ["{shared}"]\n')
    give(shared / ".codex", MALLORY)
    assert run_as(ALICE, "status", cwd=shared).returncode == 5


def test_settings_of_ones_own_that_others_can_write_are_refused(shared: Path, tmp_path: Path) -> None:
    workspace = made(shared)
    write(tmp_path / "home/.config/flowd/config.toml", "max_parallel = 1\n", mode=0o666)
    give(tmp_path / "home", ALICE)
    code, said = fire(workspace, HOME=str(tmp_path / "home"))
    assert code == 5
    assert "config.toml is not trusted: everybody can write" in said


def test_root_does_not_run_what_is_anothers_and_sudo_knows_whose_it_is(shared: Path) -> None:
    workspace = made(shared)
    code, said = fire(workspace, uid=0)
    assert code == 5
    assert f"belongs to user {ALICE}" in said
    assert fire(workspace, uid=0, SUDO_UID=str(ALICE))[0] == 0


def test_doctor_runs_no_program_that_the_workspace_names(tmp_path: Path) -> None:
    """Not even in one's own: a clone is one's own."""
    ran = tmp_path / "ran"
    program = write(tmp_path / "tools/anything", f"#!/bin/sh\ntouch {ran}\n", mode=0o755)
    for runner in ("python", "node", "bun"):
        write(tmp_path / ".codex/flowd.toml", f'[runners]\n{runner} = "{program}"\n')
        found = json.loads(run_as(0, "doctor", "--json", "-w", tmp_path).stdout)["findings"]
        (said,) = [finding["found"] for finding in found if finding["check"] == f"runner.{runner}"]
        assert "the workspace names it, so it was not run" in said
        assert not ran.exists()


def test_a_local_client_refuses_it_too(shared: Path, trap: Path) -> None:
    script = (
        "from flowd_client import create_flow_client\n"
        "with create_flow_client(mode='local') as flows:\n"
        "    flows.dispatch_event({'id': 'e', 'type': 't', 'payload': {}})\n"
    )
    done = subprocess.run(
        [PYTHON, "-c", script],
        user=ALICE,
        group=ALICE,
        extra_groups=[],
        cwd=shared,
        env={"HOME": "/nonexistent", "PYTHONPATH": PYTHONPATH},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "is not trusted" in done.stderr


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        pytest.param(lambda above, _: None, None, id="nothing"),
        pytest.param(lambda above, _: give(above, MALLORY), f"belongs to user {MALLORY}", id="another's folder"),
        pytest.param(lambda above, _: above.chmod(0o777), "everybody can write", id="open to all"),
        pytest.param(lambda above, _: (os.chown(above, 0, 12345), above.chmod(0o775)), "group 12345", id="a group"),
        pytest.param(lambda above, _: (os.chown(above, ALICE, ALICE), above.chmod(0o775)), None, id="a group of one"),
        pytest.param(lambda _, link: os.lchown(link, MALLORY, MALLORY), f"belongs to user {MALLORY}", id="a link"),
        pytest.param(lambda above, _: give(above / "state", MALLORY), None, id="the folder itself"),
    ],
)
def test_folders_above_a_services_state_are_judged_as_those_of_a_workspace(
    shared: Path, spoil: Callable[[Path, Path], object], why: str | None
) -> None:
    above, link = shared / "above", shared / "link"
    (above / "state").mkdir(parents=True)
    link.symlink_to(above)
    spoil(above, link)
    found = ownership.problem_above(link / "state", uid=ALICE)
    assert (found is None) if why is None else (why in str(found)), found
