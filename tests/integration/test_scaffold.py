"""New packages work as they are, appear whole, and never overwrite anything."""

import asyncio
import json
import os
import subprocess
import sys
import threading
import tomllib
from pathlib import Path

import pytest
from runner_rig import interpreter, run, step_context

from flowd.catalog.doubts import doubts
from flowd.cli import disk
from flowd.domain import event as events
from flowd.domain.definition import Definition
from flowd.runners.commands import StepRunners
from flowd.runners.scaffold import RUNNERS, Plan, examples_dir, read_steps, scaffold


def test_no_python_script_of_a_new_package_hides_a_module(tmp_path: Path) -> None:
    steps = read_steps("copy, copy_step > flowd_step > build")
    files = scaffold(tmp_path, Plan("names", stages=steps.stages))
    scripts = [step["script"] for step in tomllib.loads(files[0].read_text())["steps"]]
    assert scripts == [
        "exec/copy_step_step.py",
        "exec/copy_step.py",
        "exec/flowd_step_step.py",
        "exec/build.py",
    ]
    assert {str(path.relative_to(tmp_path / "flows/names")) for path in files} >= set(scripts)


@pytest.mark.parametrize("runner", ["python", "bun", "node", "exec"])
def test_a_new_package_answers_its_own_event(tmp_path: Path, runner: str) -> None:
    workspace = tmp_path / "ws"
    workspace.mkdir()
    files = scaffold(workspace, Plan("my-flow", runner=runner, event_type='odd."type\\x'))
    package = workspace / "flows" / "my-flow"
    assert files[0] == package / "flow.toml"
    assert sorted(files) == sorted(path for path in package.rglob("*") if path.is_file())

    manifest = tomllib.loads(files[0].read_text())
    step = manifest["steps"][0]
    assert (manifest["name"], step["runner"], step["trigger"]["type"]) == ("my-flow", runner, 'odd."type\\x')
    schema = json.loads((package / step["trigger"]["schema"]).read_text())
    example = json.loads((package / "event.json").read_text())
    assert "id" not in example, "so that it can be sent again and again"
    event = {"id": "e1", **example}
    assert events.normalise(event, now="now").type == 'odd."type\\x'
    assert set(schema["required"]) <= set(event["payload"])

    interpreters = {} if runner == "exec" else {runner: interpreter(runner)}
    definition = Definition(
        flow_name="my-flow",
        flow_version=1,
        flow_root=str(package),
        package_hash="",
        step_name="hello",
        runner=runner,
        script=step["script"],
        timeout_ms=1000,
        grace_ms=1000,
    )
    runners = StepRunners(workspace=workspace, socket_path=None, environ=dict(os.environ), interpreters=interpreters)
    command = asyncio.run(runners.command(definition, step_context(event=event)))
    ended = run(command, os.environ, tmp_path)
    assert (ended.code, ended.stderr) == (0, "")
    assert ended.said["status"] == "completed"
    assert ended.said["message"].startswith("Hello")
    assert ended.stdout.startswith(b"working on attempt 1")


def test_steps_are_read_in_the_order_in_which_people_write_them() -> None:
    assert read_steps("one").stages == [["one"]]
    assert read_steps("checkout > test,build >publish").stages == [["checkout"], ["test", "build"], ["publish"]]
    assert read_steps("test, ask ? > also? > publish") == ([["test", "ask"], ["also"], ["publish"]], {"ask", "also"})


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "lacks the name of a step"),
        ("a >", "lacks the name of a step"),
        ("a, , b", "lacks the name of a step"),
        ("a > b > a", "names the step 'a' twice"),
        ("a > b?", "no step waits for what 'b' asks; let one that asks come before it: ask[?] > b"),
        ("a?? > b", "is not a step name"),
        ("? > b", "lacks the name of a step"),
        ("a b", "is not a step name"),
        ("../a", "is not a step name"),
        ("a -> b", "'a -> b' has an arrow; between steps stands > alone: a > b"),
        ("a => b", "between steps stands > alone: a > b"),
        ("a→b", "between steps stands > alone: a>b"),
        (" > ".join(f"s{n}" for n in range(101)), "101 steps; begin with 100"),
    ],
)
def test_steps_that_cannot_be_meant_are_refused(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        read_steps(text)


@pytest.mark.parametrize("runner", ["python", "bun", "node", "exec"])
@pytest.mark.parametrize("start", ["event", "clock", "files"])
def test_a_package_of_steps_in_order_is_read_without_a_warning(tmp_path: Path, runner: str, start: str) -> None:
    (tmp_path / "notes.md").write_text("")
    plan = Plan(
        "release",
        runner=runner,
        stages=read_steps("checkout > test, build > publish").stages,
        cron="30 2 * * *" if start == "clock" else None,
        timezone="Europe/Berlin" if start == "clock" else None,
        files=["*.md"] if start == "files" else (),
    )
    scaffold(tmp_path, plan)
    (flow,) = disk.scan(tmp_path).flows
    assert [(step.name, step.needs) for step in flow.steps] == [
        ("checkout", ()),
        ("test", ("checkout",)),
        ("build", ("checkout",)),
        ("publish", ("test", "build")),
    ]
    assert [*flow.warnings, *doubts(flow)] == []
    assert (len(flow.schedules), len(flow.watches)) == (start == "clock", start == "files")
    assert (
        disk.explain(tmp_path, {"id": "e", **json.loads((tmp_path / "flows/release/event.json").read_text())})[
            "matched"
        ]
        == 4
    )


def test_the_tests_of_new_packages_hold(tmp_path: Path) -> None:
    for runner in RUNNERS:
        steps = read_steps("a > b, ask? > c, d")
        scaffold(tmp_path, Plan(f"my-{runner}.2", runner=runner, stages=steps.stages, asking=steps.asking))
    folders = [str(Path(interpreter(runner)).parent) for runner in ("bun", "node")]  # or this test says what is missing
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "flows"],
        cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "PATH": os.pathsep.join([*folders, os.environ["PATH"]])},
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "4 passed" in ran.stdout


def test_a_prefix_trigger_gets_an_event_that_fits_it(tmp_path: Path) -> None:
    files = scaffold(tmp_path, Plan("a", event_type="demo.*", is_installed=True))
    assert files[0] == tmp_path / ".codex/flows/a/flow.toml"
    assert json.loads((tmp_path / ".codex/flows/a/event.json").read_text())["type"] == "demo.example"


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a/b", "../a", "a b", "-x", "a\n", "ü", "x" * 101])
def test_a_name_that_is_no_safe_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="is not a package name; use"):
        scaffold(tmp_path, Plan(name))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("runner", "event_type", "complaint"),
    [
        ("ruby", "a", "use python, exec, bun, node"),
        ("python", " ", "is not an event type"),
        ("python", "a\nb", "is not an event type"),
    ],
)
def test_what_would_not_work_is_not_written(tmp_path: Path, runner: str, event_type: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        scaffold(tmp_path, Plan("a", runner=runner, event_type=event_type))
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_ever_overwritten(tmp_path: Path) -> None:
    flows = tmp_path / "flows"
    flows.mkdir()
    (flows / "folder").mkdir()
    (flows / "file").write_text("mine")
    (flows / "link").symlink_to("nowhere")
    for name in ("folder", "file", "link"):
        with pytest.raises(ValueError, match="exists already"):
            scaffold(tmp_path, Plan(name))
    assert (flows / "file").read_text() == "mine"
    assert list((flows / "folder").iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["flows"]


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "flows").write_text("a file where the folder should be")
    with pytest.raises(OSError, match="flows"):
        scaffold(tmp_path, Plan("a"))
    assert [path.name for path in tmp_path.iterdir()] == ["flows"]


def test_whoever_looks_meanwhile_sees_whole_packages_only(tmp_path: Path) -> None:
    flows = tmp_path / "flows"
    flows.mkdir()
    stop = threading.Event()
    halves: list[list[str]] = []

    def look() -> None:
        while not stop.is_set():
            for package in os.scandir(flows):
                found = sorted(path.name for path in Path(package).rglob("*") if path.is_file())
                if found != ["event.json", "event.schema.json", "flow.toml", "hello.py", f"test_{package.name}.py"]:
                    halves.append(found)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        for number in range(50):
            scaffold(tmp_path, Plan(f"p{number}"))
    finally:
        stop.set()
        watcher.join()
    assert halves == []
    assert len(list(flows.iterdir())) == 50


def test_a_new_package_is_as_open_as_any_other_folder(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.mkdir()
    scaffold(tmp_path, Plan("a", runner="exec"))
    assert (tmp_path / "flows/a").stat().st_mode == plain.stat().st_mode


def test_the_examples_are_found_in_a_checkout() -> None:
    assert (examples_dir() / "flows").is_dir()
    assert (examples_dir() / "events" / "upstream-release.json").is_file()
