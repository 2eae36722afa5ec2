"""What packages are tested with: one step or a round in flowd's engine, told in reports, and no daemon reached."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from daemon_rig import Workspace

from flowd_testing import FlowPackage, FlowPackageError

MANIFEST = """
name = "chain"
version = 1

[[steps]]
name = "build"
runner = "python"
script = "build.py"
[steps.trigger]
type = "chain.go"
schema = "event.schema.json"

[[steps]]
name = "test"
runner = "exec"
script = "test.sh"
needs = ["build"]
env = { ARTIFACT = { need = "build", pointer = "/artifact" } }

[[steps]]
name = "publish"
runner = "exec"
script = "publish.sh"
needs = ["test"]
delay_ms = 3600000

[[steps]]
name = "other"
runner = "exec"
script = "test.sh"
[steps.trigger]
type = "chain.other"
"""
BUILD = """
import os, sys
import flowd_step

def run(context):
    step = flowd_step.context(context)
    print("one"); print("two", file=sys.stderr); print("three")
    if step.answer:
        return step.completed(f"built by {step.answer.input['by']}")
    if step.event.payload.get("blocked"):
        return step.blocked("who is to build it?")
    step.emit("built", {"by": os.environ.get("BUILDER")})
    return step.changed("built", artifact="a.tar")
"""
TEST = """#!/bin/sh
cat >/dev/null
echo "FLOW_RESULT {\\"status\\":\\"completed\\",\\"artifact\\":\\"$ARTIFACT\\"}"
exit ${FAIL:-0}
"""
PUBLISH = """#!/bin/sh
cat >context.json
echo '{"id": "sent-1", "type": "chain.go", "payload": {"from": "a step"}}' | flowd dispatch -
echo 'FLOW_RESULT {"status":"completed"}'
"""
EVENT = {"id": "e1", "type": "chain.go", "payload": {"tag": "v1"}}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "chain"
    folder.mkdir()
    schema = {"required": ["tag"]}
    texts = {"flow.toml": MANIFEST, "build.py": BUILD, "test.sh": TEST, "publish.sh": PUBLISH}
    for name, text in {**texts, "event.json": json.dumps(EVENT), "event.schema.json": json.dumps(schema)}.items():
        (folder / name).write_text(text, encoding="utf-8")
        (folder / name).chmod(0o755)
    return folder


@pytest.fixture
def package(source: Path, tmp_path: Path) -> FlowPackage:
    return FlowPackage(source, tmp_path / "w")


def test_a_step_is_reported_with_all_that_it_said(package: FlowPackage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUILDER", "ada")
    run = package.step("build")
    assert (run.flow, run.step, run.status, run.message, run.ok) == ("chain", "build", "changed", "built", True)
    assert run.result["artifact"] == "a.tar"
    assert run.next == [{"type": "built", "payload": {"by": "ada"}}]
    assert (run.reason, run.error, run.exit_code, run.attempts, run.sent) == (None, None, 0, 1, ())
    assert run.stdout.startswith("one\nthree\n")
    assert run.stderr == "two\n"
    assert sorted(run.output) == sorted(run.stdout + run.stderr)


def test_a_step_is_told_of_needs_that_were_not_run(package: FlowPackage, monkeypatch: pytest.MonkeyPatch) -> None:
    assert package.step("test", needs={"build": {"artifact": "b.tar"}}).result["artifact"] == "b.tar"
    monkeypatch.setenv("FAIL", "3")
    run = package.step("test", needs={"build": {"artifact": "b.tar"}})
    assert (run.status, run.reason, run.exit_code, dict(run.result), run.ok) == ("failed", "exit", 3, {}, False)
    assert "exited with 3" in str(run.error)


def test_a_round_runs_in_order_without_its_delays(package: FlowPackage, capsys: pytest.CaptureFixture[str]) -> None:
    done = package.round()
    assert done.statuses == {"build": "changed", "test": "completed", "publish": "completed"}
    assert done.ok
    assert done["test"].result["artifact"] == "a.tar"
    assert [event["type"] for event in done.next] == ["built"]
    with pytest.raises(KeyError, match="'other' is not in this round; the steps that the event matches: build, test"):
        _ = done["other"]
    said = capsys.readouterr().out
    assert said.startswith("chain/build: changed, built\n")
    assert "\nthree\n" in said


def test_what_waits_for_a_person_is_queued(package: FlowPackage) -> None:
    done = package.round(package.event(blocked=True))
    assert done.statuses == {"build": "blocked", "test": "queued", "publish": "queued"}
    assert done["build"].message == "who is to build it?"
    assert not done.ok
    answered = package.step("build", package.event(blocked=True), answer={"by": "ada"})
    assert (answered.status, answered.message) == ("completed", "built by ada")


def test_a_round_goes_on_behind_a_question_that_the_test_approves(package: FlowPackage) -> None:
    done = package.round(package.event(blocked=True), approve=["build"])
    assert done.statuses == {"build": "completed", "test": "failed", "publish": "skipped"}
    assert "/artifact" in str(done["test"].error)  # which who asks has not made


def test_an_event_that_matches_nothing_runs_nothing(package: FlowPackage) -> None:
    done = package.round(package.event("chain.go", name="no tag"))
    assert (dict(done), done.ok) == ({}, False)


def test_what_steps_send_reaches_no_daemon_and_is_told(source: Path, place: Workspace) -> None:
    """Not even that of the workspace which a package under test happens to lie in."""
    place.flow("chain-live", "exit 1", trigger="chain.go")
    place.start()
    package = FlowPackage(source, place.path / "scratch")
    run = package.step("publish", needs={"test": {}})
    assert run.status == "completed", run.output
    (sent,) = run.sent
    assert (sent["id"], sent["type"], sent["payload"]) == ("sent-1", "chain.go", {"from": "a step"})
    assert place.call("flow.listEvents")["events"] == []
    assert json.loads((package.path / "context.json").read_text())["flow"]["needs"]["test"]["status"] == "completed"


def test_a_step_runs_in_a_test_that_is_a_coroutine(package: FlowPackage) -> None:
    async def test() -> str:
        return package.step("build").status

    assert asyncio.run(test()) == "changed"


def test_events_are_made_of_the_example(package: FlowPackage) -> None:
    first, second = package.event(), package.event(tag="v2", count=1)
    assert {**first, "id": "e1"} == EVENT
    assert second["payload"] == {"tag": "v2", "count": 1}
    assert first["id"] != second["id"]
    assert {**package.event("other.type", a=1), "id": ""} == {"type": "other.type", "payload": {"a": 1}, "id": ""}
    (package.path / "event.json").unlink()
    with pytest.raises(FlowPackageError, match=r"chain has no example event \(event.json"):
        package.event()
    (package.path / "events").mkdir()
    (package.path / "events" / "b.json").write_text('{"type": "x"}')
    assert package.event()["type"] == "x"


def test_a_mistake_in_a_test_is_named(package: FlowPackage, tmp_path: Path) -> None:
    with pytest.raises(FlowPackageError, match=r"is no flow package: it has no flow\.toml"):
        FlowPackage(tmp_path, tmp_path / "v")
    with pytest.raises(FlowPackageError, match="chain has no step 'biuld'; it has: build, test, publish, other"):
        package.step("biuld")
    with pytest.raises(FlowPackageError, match="chain/test does not need 'biuld'; its needs are: build"):
        package.step("test", needs={"biuld": {}})
    with pytest.raises(
        FlowPackageError, match=r"'biuld'\. Did you mean 'build'\? The steps are: build, test, publish, other"
    ):
        package.round(approve=["build", "biuld"])
    with pytest.raises(FlowPackageError, match="FlowEvent requires string id and type"):
        package.step("build", {"payload": {}})
    (package.path / "flow.toml").write_text("version = 1\nname = oops\n")
    with pytest.raises(FlowPackageError, match=r"chain/flow\.toml:2: "):
        package.step("build")


def test_the_copy_leaves_out_what_does_not_belong_to_the_package(source: Path, tmp_path: Path) -> None:
    for name in (".git", "__pycache__", "node_modules"):
        (source / name).mkdir()
    package = FlowPackage(source, tmp_path / "w")
    assert sorted(path.name for path in package.path.iterdir() if path.is_symlink()) == ["node_modules"]
    assert not (package.path / ".git").exists()
    assert not (package.path / "__pycache__").exists()


def test_the_fixtures_find_the_package(
    make_flow_package: "Callable[[str | Path], FlowPackage]", request: pytest.FixtureRequest
) -> None:
    package = make_flow_package("examples/flows/release")
    assert package.path.name == "release"
    assert package.workspace != make_flow_package("examples/flows/release").workspace
    with pytest.raises(LookupError, match="lies in no flow package"):
        request.getfixturevalue("flow_package")


def test_a_run_of_pytest_without_it_imports_next_to_nothing() -> None:
    script = "import pytest, sys; bare = set(sys.modules); import flowd_testing.plugin"
    script += "; print(*sorted(set(sys.modules) - bare))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["flowd_testing", "flowd_testing.plugin"]
