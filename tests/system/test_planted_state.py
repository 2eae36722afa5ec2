"""A state folder that somebody has prepared for a clone, with closed modes: what it says of processes and files."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from daemon_rig import Workspace

from flowd.keeper.capabilities import boot_id
from flowd_client import discovery


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    """The repository of who prepares a clone."""
    folder = tmp_path / "prepared"
    folder.mkdir()
    return folder


def cloned(prepared: Path, place: Workspace) -> Workspace:
    """The clone of somebody with a umask of 077, so that its files have the modes of flowd's own."""
    git = ["git", "-c", "user.name=m", "-c", "user.email=m@example.org", "-C", str(prepared)]
    (prepared / "README").write_text("hello\n")
    subprocess.run(["git", "init", "--quiet", prepared], check=True)
    subprocess.run([*git, "add", "--all", "--force"], check=True)
    subprocess.run([*git, "commit", "--quiet", "-m", "m"], check=True)
    subprocess.run(["sh", "-c", f"umask 077; git clone --quiet {prepared} {place.path}"], check=True)
    return place


def write_journal(prepared: Path, *entries: dict[str, Any]) -> None:
    keeper = prepared / ".codex/flowd/keeper"
    keeper.mkdir(parents=True)
    lines = [{"op": "journal", "v": 1}, {"op": "keepers", "ids": ["keeper-1"]}, *entries]
    (keeper / "keeper.journal").write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))


def begin(stdout: Path, stderr: Path, **more: Any) -> dict[str, Any]:
    spec = {"timeout_s": 60, "grace_s": 0, "max_output_bytes": 0, "detach": False, "mark": "m", "pipes": ""}
    return {"op": "begin", "id": "run_1", "stdout": str(stdout), "stderr": str(stderr), **spec, **more}


def test_a_planted_journal_leads_to_no_file(prepared: Path, place: Workspace, tmp_path: Path) -> None:
    mine, other = tmp_path / "mine", tmp_path / "other"
    mine.write_text("precious\n")
    other.write_text("precious\n")
    not_there = tmp_path / "not-there"
    write_journal(
        prepared,
        begin(mine, not_there),
        {**begin(other, other), "id": "run_2"},
        {"op": "started", "id": "run_2", "boot": boot_id(), "pid": 0, "start": 0},
    )
    cloned(prepared, place).start()
    assert place.stop() == 0
    assert mine.exists(), "it was removed"
    assert other.read_text() == "precious\n"


def test_a_planted_journal_leads_to_no_process(prepared: Path, place: Workspace, tmp_path: Path) -> None:
    bystander = subprocess.Popen(["sleep", "600"], start_new_session=True)
    try:
        start = int(Path(f"/proc/{bystander.pid}/stat").read_text().rpartition(")")[2].split()[19])
        started = {"op": "started", "id": "run_1", "boot": boot_id(), "pid": bystander.pid, "start": start}
        write_journal(prepared, begin(tmp_path / "o", tmp_path / "e"), started)
        cloned(prepared, place).start()
        assert place.stop() == 0
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_planted_token_opens_nothing(prepared: Path, place: Workspace) -> None:
    token = prepared / ".codex/flowd" / discovery.HTTP_TOKEN
    token.parent.mkdir(parents=True)
    token.write_text("known-to-somebody-else\n")
    cloned(prepared, place).start(FLOWD_HTTP="127.0.0.1:0")
    assert (place.path / ".codex/flowd" / discovery.HTTP_TOKEN).read_text() != "known-to-somebody-else\n"
