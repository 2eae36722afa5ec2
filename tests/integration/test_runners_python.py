"""Steps written in Python, run for real: what is special about them."""

import asyncio
from pathlib import Path

import pytest
from runner_rig import run, step_context
from step_kinds import PYTHON_MODULE, done, made


def test_a_python_step_prints_at_once_unless_it_says_otherwise(tmp_path: Path) -> None:
    rig = made(tmp_path, PYTHON_MODULE)
    rig.write("exec/step.py", "def run(c): ...")
    assert rig.command("python", "exec/step.py").env["PYTHONUNBUFFERED"] == "1"
    assert rig.command("python", "exec/step.py", env={"PYTHONUNBUFFERED": ""}).env["PYTHONUNBUFFERED"] == ""
    rig.environ["PYTHONUNBUFFERED"] = "0"
    assert "PYTHONUNBUFFERED" not in rig.command("python", "exec/step.py").env


OK = "return {'status': 'completed', 'message': 'ok'}"
PYTHON_EDGES = {
    "what json cannot write": ("def run(c):\n    return {'status': 'completed', 'x': {1}}", 1, "be written as JSON"),
    "not a number": ("def run(c):\n    return {'status': 'completed', 'x': float('nan')}", 1, "be written as JSON"),
    "an unprintable exception": (
        "class E(Exception):\n    def __str__(self): raise ValueError\ndef run(c):\n    raise E",
        1,
        "E",
    ),
    "a cancelled task": ("import asyncio\nasync def run(c):\n    raise asyncio.CancelledError", 1, "CancelledError"),
    "a task left behind": (
        f"import asyncio\nasync def run(c):\n    asyncio.create_task(asyncio.sleep(60))\n    {OK}",
        0,
        "ok",
    ),
    "a task that cleans up": (
        """
import asyncio

async def child():
    try:
        await asyncio.sleep(60)
    finally:
        print('cleaned up')

async def run(c):
    asyncio.create_task(child())
    await asyncio.sleep(0)
    return {'status': 'completed', 'message': 'ok'}
""",
        0,
        "ok",
    ),
    "a thread pool left behind": (
        (
            "import asyncio as a, time\nasync def run(c):\n"
            f"    a.get_running_loop().run_in_executor(None, time.sleep, 60)\n    {OK}"
        ),
        0,
        "ok",
    ),
    "a dataclass with future annotations": (
        """
from __future__ import annotations
import dataclasses

@dataclasses.dataclass
class A:
    x: int

def run(c):
    return {'status': 'completed', 'message': repr(A(1)) + __name__}
""",
        0,
        "A(x=1)step",
    ),
    "a closed stdout": (f"import sys\ndef run(c):\n    sys.stdout.close()\n    {OK}", 0, "ok"),
    "an exit handler": (f"import atexit\natexit.register(print, 'cleaned up')\ndef run(c):\n    {OK}", 0, "ok"),
    "an exit handler that hangs": (
        f"import atexit, time\natexit.register(time.sleep, 60)\ndef run(c):\n    {OK}",
        0,
        "ok",
    ),
}


@pytest.mark.parametrize("name", PYTHON_EDGES)
def test_a_python_step_copes_with(tmp_path: Path, name: str) -> None:
    source, code, message = PYTHON_EDGES[name]
    rig = made(tmp_path, PYTHON_MODULE)
    rig.write("exec/step.py", source)
    ended = run(rig.command("python", "exec/step.py"), rig.environ, tmp_path)
    assert ended.code == code, ended.stderr
    assert message in ended.said["message"]
    assert not list(rig.root.rglob("__pycache__")), "the package's folder is the user's"
    assert (b"cleaned up\n" in ended.stdout) == ("cleaned up" in source)


def test_a_python_traceback_begins_in_the_step(tmp_path: Path) -> None:
    ended = done(tmp_path, PYTHON_MODULE, "throw")
    assert "module.py" not in ended.stderr
    assert 'exec/step.py", line 2, in run' in ended.stderr
    assert ended.said["message"] == "RuntimeError: boom"


def test_a_python_step_may_be_named_like_a_standard_module(tmp_path: Path) -> None:
    rig = made(tmp_path, PYTHON_MODULE)
    rig.write("exec/json.py", "def run(c):\n    return {'status': 'completed', 'message': __name__}")
    ended = run(rig.command("python", "exec/json.py"), rig.environ, tmp_path)
    assert ended.said["message"] == "flow_step", ended.stderr


def test_an_edited_script_is_run_as_it_is_now(tmp_path: Path) -> None:
    rig = made(tmp_path, PYTHON_MODULE)
    runners = rig.runners()
    definition = rig.definition("python", "exec/step.py")
    seen = []
    for style in (
        "def run(c):\n    return {'status': 'completed', 'n': 1}",
        "def run(c):\n    return {'status': 'completed', 'n': 2}",
        'print(\'FLOW_RESULT {"status": "completed", "n": 3}\')',
    ):
        rig.write("exec/step.py", style)
        command = asyncio.run(runners.command(definition, step_context()))
        seen.append(run(command, rig.environ, tmp_path).said["n"])
    assert seen == [1, 2, 3]
