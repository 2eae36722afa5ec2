"""What steps import, where they run: in scripts and modules, with the interpreters of others, and by hand."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from runner_rig import CHECKOUT, Done, Rig, run, step_context

from flowd.domain.needs import NeedEnd
from flowd.runners.commands import StepRunners
from flowd.runners.reach import Reach

SCRIPT = """
import flowd_step

with flowd_step.context() as step:
    step.progress(1, 2, "half")
    step.emit("greeted", {"name": step.event.payload["name"]})
    step.changed("hello", artifact=step.needs["fetch"].result["dir"])
"""
MODULE = """
import flowd_step

def run(context):
    step = flowd_step.context(context)
    step.progress(1, 2, "half")
    step.emit("greeted", {"name": step.event.payload["name"]})
    return step.changed("hello", artifact=step.needs["fetch"].result["dir"])
"""
ASYNC_MODULE = MODULE.replace("def run", "async def run")
FETCHED = step_context(needs=(NeedEnd("fetch", "run_f", "completed", result='{"status": "completed", "dir": "/d"}'),))
SAID = {
    "status": "changed",
    "message": "hello",
    "artifact": "/d",
    "next": [{"type": "greeted", "payload": {"name": "world"}}],
}


def ended(rig: Rig, source: str, folder: Path, python: tuple[str, ...] = ()) -> Done:
    """How a step ends that has flowd's modules from nowhere but its reach."""
    rig.write("s.py", source)
    runners = StepRunners(
        workspace=rig.workspace, socket_path=None, environ=rig.environ, interpreters={"python": sys.executable},
        reach=Reach(folder / "reach", {"PATH": rig.environ["PATH"]}),
    )  # fmt: skip
    command = asyncio.run(runners.command(rig.definition("python", "s.py"), FETCHED))
    if python:
        command = replace(command, argv=(*python, *command.argv[1:]))
    return run(command, rig.environ, folder)


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path / "w")


@pytest.mark.parametrize("source", [SCRIPT, MODULE, ASYNC_MODULE], ids=["script", "module", "async"])
def test_a_step_of_every_style_has_it_in_reach(rig: Rig, tmp_path: Path, source: str) -> None:
    done = ended(rig, source, tmp_path, ("/usr/bin/python3", "-S"))
    assert done.said == SAID, done
    assert b'FLOW_PROGRESS {"percent":50,"message":"half"}\n' in done.stdout
    assert done.stdout.count(b"FLOW_RESULT") == 1


def old_python() -> str:
    """The oldest interpreter from 3.8 that is here, by its name or among pyenv's; or a skip."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for minor in range(8, 11):
        named = [shutil.which(f"python3.{minor}"), *map(str, pyenv.glob(f"3.{minor}.*/bin/python3"))]
        for found in filter(None, named):
            asked = subprocess.run(
                [found, "-c", "import sys; print(sys.version_info[1])"], capture_output=True, text=True
            )
            if asked.stdout.strip() == str(minor):  # pyenv's shim of a version that is not chosen prints nothing
                return found
    pytest.skip("NOT TESTED: a step with a Python from 3.8 to 3.10, because none is here")


@pytest.mark.parametrize("source", [SCRIPT, MODULE], ids=["script", "module"])
def test_the_interpreter_of_a_step_may_be_an_old_one(rig: Rig, tmp_path: Path, source: str) -> None:
    done = ended(rig, source, tmp_path, (old_python(), "-W", "error"))
    assert (done.said, done.stderr) == (SAID, "")


def test_a_step_with_dependencies_of_its_own_has_it_in_reach(rig: Rig, tmp_path: Path) -> None:
    path = f"{CHECKOUT / '.tools/bin'}{os.pathsep}{rig.environ['PATH']}"
    if shutil.which("uv", path=path) is None:
        pytest.skip("NOT TESTED: uv is not on PATH; https://docs.astral.sh/uv")
    rig.environ["PATH"] = path
    rig.write("own/pyproject.toml", "[project]\nname = 'own'\nversion = '7'\n")
    rig.write("own/own.py", "")
    metadata = f"# /// script\n# dependencies = ['own @ file://{rig.root}/own']\n# ///\nimport own\n"
    for source in (SCRIPT, MODULE):
        done = ended(rig, metadata + source, tmp_path)
        assert done.said == SAID, done


@pytest.mark.parametrize("source", [SCRIPT, MODULE], ids=["script", "module"])
def test_what_a_step_raises_is_its_message_and_its_traceback_is_on_stderr(
    rig: Rig, tmp_path: Path, source: str
) -> None:
    done = ended(rig, source.replace('["fetch"]', '["fetsch"]'), tmp_path)
    assert done.code == 1
    assert done.said["status"] == "failed"
    assert "does not need 'fetsch'; its needs are: fetch" in done.said["message"]
    assert "Traceback (most recent call last)" in done.stderr
    assert 'step.needs["fetsch"]' in done.stderr


def test_a_module_that_reads_standard_input_is_told_what_to_do(rig: Rig, tmp_path: Path) -> None:
    done = ended(rig, MODULE.replace("flowd_step.context(context)", "flowd_step.context()"), tmp_path)
    assert "flowd_step.context(context)" in done.said["message"]


def test_a_script_runs_by_hand_with_an_event(rig: Rig) -> None:
    script = rig.write("s.py", SCRIPT.replace('step.needs["fetch"].result["dir"]', "step.name"))
    done = subprocess.run(
        [sys.executable, str(script)],
        input=json.dumps({"id": "e", "type": "t", "payload": {"name": "world"}}),
        env={"PYTHONPATH": str(CHECKOUT / "clients/python")}, cwd=rig.workspace, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout.partition("FLOW_RESULT ")[2]) == {**SAID, "artifact": ""}


def test_importing_it_loads_nothing_else(tmp_path: Path) -> None:
    script = "import os, sys; bare = set(sys.modules); import flowd_step; print(*sorted(set(sys.modules) - bare))"
    done = subprocess.run(
        [sys.executable, "-S", "-c", script],
        env={"PYTHONPATH": str(CHECKOUT / "clients/python")}, cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    ours = ["flowd_step", "flowd_step._given", "flowd_step._printing", "flowd_step._step"]
    assert done.stdout.split() == ["__future__", *ours]
