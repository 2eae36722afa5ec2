"""The example packages do what their README says."""

import asyncio
import json
import os
import signal
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from runner_rig import Done, interpreter, run, step_context

from flowd.domain.definition import Definition
from flowd.domain.launching import Command
from flowd.runners.commands import StepRunners
from flowd.runners.scaffold import examples_dir

EXAMPLES = examples_dir()
RELEASE = json.loads((EXAMPLES / "events" / "upstream-release.json").read_text())


def command(workspace: Path, package: str, event: dict[str, Any]) -> Command:
    root = EXAMPLES / "flows" / package
    manifest = tomllib.loads((root / "flow.toml").read_text())
    (step,) = manifest["steps"]
    definition = Definition(
        flow_name=manifest["name"],
        flow_version=manifest["version"],
        flow_root=str(root),
        package_hash="",
        step_name=step["name"],
        runner=step["runner"],
        script=step["script"],
        timeout_ms=step["timeout_ms"],
        grace_ms=1000,
        cwd=step.get("cwd"),
        config=manifest.get("config"),
    )
    interpreters = {} if step["runner"] == "exec" else {step["runner"]: interpreter(step["runner"])}
    runners = StepRunners(workspace=workspace, socket_path=None, environ=os.environ, interpreters=interpreters)
    event = {"receivedAt": "2026-05-18T10:00:00.000Z", "payload": {}, **event}
    return asyncio.run(runners.command(definition, step_context(event=event, event_id=event["id"])))


def ended(workspace: Path, package: str, event: dict[str, Any]) -> Done:
    done = run(command(workspace, package, event), os.environ, workspace.parent)
    assert (done.code, done.stderr) == (0, "")
    return done


def release(**payload: str) -> dict[str, Any]:
    return {**RELEASE, "payload": {**RELEASE["payload"], **payload}}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A workspace that is a repository: two tags, three commits between them, one of them a chore."""
    workspace = tmp_path / "ws"
    workspace.mkdir()

    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "init.defaultBranch=main"]
        subprocess.run(["git", "-C", workspace, *identity, *arguments], check=True, capture_output=True)

    git("init")
    for subject in (
        "first",
        "v:rust-v1.2.2",
        "fix: one",
        "chore: two",
        "feat: three",
        "v:rust-v1.2.3",
        "v:rust-v1.2.4",
    ):
        if subject.startswith("v:"):
            git("tag", "-a", "-m", "x", subject[2:])
        else:
            git("commit", "--allow-empty", "-m", subject)
    return workspace


def test_release_notes_are_written_once(checkout: Path) -> None:
    done = ended(checkout, "release-notes", RELEASE)
    path = checkout / "RELEASE_NOTES-rust-v1.2.3.md"
    assert done.said["status"] == "changed"
    assert done.said["artifacts"] == {"path": str(path), "commits": 2}
    lines = path.read_text().splitlines()
    assert lines[0] == "# openai/codex rust-v1.2.3"
    assert [line.rpartition(" (")[0] for line in lines[2:]] == ["- feat: three", "- fix: one"]
    assert ended(checkout, "release-notes", RELEASE).said["status"] == "skipped"


def test_the_first_release_has_all_commits(checkout: Path) -> None:
    assert ended(checkout, "release-notes", release(tag="rust-v1.2.2")).said["artifacts"]["commits"] == 1


@pytest.mark.parametrize(
    "tag", ["rust-v9", "--output=owned", "main", "rust-v1.2.2..rust-v1.2.3", "x y", "$(touch owned)"]
)
def test_what_is_no_tag_is_blocked(checkout: Path, tag: str) -> None:
    before = sorted(checkout.iterdir())
    said = ended(checkout, "release-notes", release(tag=tag)).said
    assert said["status"] == "blocked"
    assert "git fetch --tags" in said["message"]
    assert sorted(checkout.iterdir()) == before


def test_a_checkout_outside_the_workspace_is_blocked(checkout: Path) -> None:
    for folder in ("..", "/"):
        assert "outside the workspace" in ended(checkout, "release-notes", release(checkout=folder)).said["message"]


def test_announce_says_what_was_released(tmp_path: Path) -> None:
    done = ended(tmp_path, "announce", RELEASE)
    assert done.said == {"status": "completed", "message": "openai/codex released rust-v1.2.3."}
    assert f"event {RELEASE['id']}, run run_1, attempt 1\n".encode() in done.stdout


def test_announce_asks_for_help_rather_than_print_something_odd(tmp_path: Path) -> None:
    for tag in ('x"}', "$(id)", "a\nb", ""):
        assert ended(tmp_path, "announce", release(tag=tag)).said["status"] == "needs_intervention"


def test_a_changelog_card_is_made(tmp_path: Path) -> None:
    workspace = tmp_path / "ws"
    workspace.mkdir()
    said = ended(workspace, "changelog-card", RELEASE).said
    assert said["status"] == "changed"
    card = json.loads((workspace / "cards" / "rust-v1.2.3.json").read_text())
    assert card == said["artifacts"]["card"]
    assert card["date"] == "2026-05-18"
    assert card["link"] in (workspace / "cards" / "rust-v1.2.3.md").read_text()
    ended(workspace, "changelog-card", release(tag="../../x"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["stderr", "stdin", "stdout", "ws"]
    assert [path.name for path in workspace.iterdir()] == ["cards"]


def test_a_slow_build_ends_when_it_is_told_to(tmp_path: Path) -> None:
    told = command(tmp_path, "slow-build", {"id": "e", "type": "demo.slow"})
    with subprocess.Popen(
        told.argv,
        cwd=told.cwd,
        env={**os.environ, **told.env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"building: 0 of 60\n"
        os.killpg(process.pid, signal.SIGTERM)
        assert process.wait(timeout=60) == 143
        assert b"stopping" in process.stdout.read()


def test_examples_and_their_events_fit_each_other() -> None:
    types = {
        tomllib.loads(path.read_text())["steps"][0]["trigger"]["type"] for path in EXAMPLES.glob("flows/*/flow.toml")
    }
    assert types == {json.loads(path.read_text())["type"] for path in EXAMPLES.glob("events/*.json")}
