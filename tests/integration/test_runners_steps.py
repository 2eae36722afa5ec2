"""The same step in every runner and style, run for real: one contract, six ways to write a step."""

import asyncio
import json
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from runner_rig import Done, Rig, interpreter, run, step_context


@dataclass(frozen=True)
class Kind:
    """A runner with a style, and each behaviour written in its language."""

    runner: str
    script: str
    sources: dict[str, str]


PYTHON_MODULE = Kind(
    "python",
    "exec/step.py",
    {
        "echo": "import os\nasync def run(context):\n    return {'status': 'changed', 'context': context,"
        " 'cwd': os.getcwd(), 'env': {k: v for k, v in os.environ.items() if 'FLOW' in k}}",
        "throw": "def run(context):\n    raise RuntimeError('boom')",
        "broken": "import nowhere_to_be_found\ndef run(context): ...",
        "list": "def run(context):\n    return [1]",
        "status": "def run(context):\n    return {'status': 'fine'}",
        "nothing": "def run(context):\n    pass",
        "timer": "import threading, time\ndef run(context):\n"
        "    threading.Thread(target=time.sleep, args=(60,)).start()\n    return {'status': 'completed'}",
        "large": "def run(context):\n    print('x' * 300_000, end='')\n"
        "    return {'status': 'completed', 'big': 'ü' * 100_000}",
        "huge": "def run(context):\n    return {'status': 'completed', 'big': 'x' * 1_100_000}",
        "sibling": "import sibling\ndef run(context):\n    return {'status': 'completed', 'message': sibling.NAME}",
        "comment": "# FLOW_RESULT is printed for us\ndef run(context):\n    print('no newline', end='')\n"
        "    return {'status': 'skipped'}",
        "exit": "import sys\ndef run(context):\n    sys.exit(7)",
    },
)
JAVASCRIPT_MODULE = {
    "echo": "export default async (context) => ({status: 'changed', context, cwd: process.cwd(),"
    " env: Object.fromEntries(Object.entries(process.env).filter(([k]) => k.includes('FLOW')))})",
    "throw": "export default () => { throw new Error('boom') }",
    "broken": "import './nowhere_to_be_found.mjs'; export default () => {}",
    "list": "export default () => [1]",
    "status": "export default () => ({status: 'fine'})",
    "nothing": "export default () => {}",
    "timer": "export default () => { setInterval(() => {}, 60_000); return {status: 'completed'} }",
    "large": "export default () => { process.stdout.write('x'.repeat(300_000));"
    " return {status: 'completed', big: 'ü'.repeat(100_000)} }",
    "huge": "export default () => ({status: 'completed', big: 'x'.repeat(1_100_000)})",
    "sibling": "import { NAME } from './sibling.mjs'; export default () => ({status: 'completed', message: NAME})",
    "comment": "// FLOW_RESULT is printed for us\nexport default () => {"
    " process.stdout.write('no newline'); return {status: 'skipped'} }",
    "exit": "export default () => process.exit(7)",
}
MODULES = [
    PYTHON_MODULE,
    Kind("node", "exec/step.mjs", JAVASCRIPT_MODULE),
    Kind("bun", "exec/step.ts", JAVASCRIPT_MODULE),
]
RAWS = [
    Kind(
        "python",
        "exec/raw.py",
        {
            "echo": "import json, os, sys\nprint('log FLOW_RESULT ' + json.dumps({'status': 'changed',"
            " 'context': json.load(sys.stdin), 'cwd': os.getcwd(), 'argv': sys.argv}))",
        },
    ),
    Kind(
        "node",
        "exec/raw.mjs",
        {
            "echo": "import fs from 'node:fs';\n// export default is only mentioned\n"
            "console.log('log FLOW_RESULT ' + JSON.stringify({status: 'changed',"
            " context: JSON.parse(fs.readFileSync(0)), cwd: process.cwd(), argv: process.argv.slice(1)}))",
        },
    ),
    Kind(
        "bun",
        "exec/raw.ts",
        {
            "echo": "const context: unknown = await Bun.stdin.json();\nconst s: string = 'export default';\n"
            "console.log('log FLOW_RESULT ' + JSON.stringify({status: 'changed',"
            " context, cwd: process.cwd(), argv: process.argv.slice(1)}))",
        },
    ),
    Kind(
        "exec",
        "exec/raw.sh",
        {
            "echo": r"""#!/bin/sh
printf 'FLOW_RESULT {"status":"changed","cwd":"%s","argv":["%s"],"context":' "$PWD" "$0"
tr -d '\n'
echo '}'
"""
        },
    ),
]


def made(tmp_path: Path, kind: Kind) -> Rig:
    rig = Rig(tmp_path / "ws")
    rig.root.mkdir(parents=True)
    if kind.runner != "exec":
        rig.interpreters = {kind.runner: interpreter(kind.runner)}
    return rig


def done(tmp_path: Path, kind: Kind, behaviour: str) -> Done:
    rig = made(tmp_path, kind)
    rig.write(kind.script, kind.sources[behaviour], mode=0o755)
    return run(rig.command(kind.runner, kind.script), rig.environ, tmp_path)


def ids(kind: Kind) -> str:
    return kind.script.rpartition("/")[2]


@pytest.mark.parametrize("kind", [*MODULES, *RAWS], ids=ids)
def test_a_step_is_told_flow_event_and_run(tmp_path: Path, kind: Kind) -> None:
    rig = made(tmp_path, kind)
    rig.socket_path = "/run/flowd.sock"
    rig.write(kind.script, kind.sources["echo"], mode=0o755)
    event = {"id": "e:1/ü", "type": "t", "payload": {"deep": [1, None, "ä\u2028"]}, "extra": True}
    context = step_context(
        event=event, event_id="e:1/ü", run_id="run_9", attempt_id="run_9:2", attempt_number=2, is_replay=True, fence=41
    )
    command = rig.command(kind.runner, kind.script, context=context, config={"a": {"b": 1.5}}, env={"X_FLOW": "1"})
    ended = run(command, rig.environ, tmp_path)

    assert (ended.code, ended.stderr) == (0, "")
    said = ended.said
    assert said["status"] == "changed"
    assert said["cwd"] == str(rig.root)
    assert said["context"] == {
        "flow": {
            "name": "demo",
            "version": 1,
            "root": str(rig.root),
            "step": "s",
            "config": {"a": {"b": 1.5}},
            "event": event,
        },
        "runtime": {
            "eventId": "e:1/ü",
            "runId": "run_9",
            "attemptId": "run_9:2",
            "attempt": 2,
            "replay": True,
            "launchedBy": "flowd",
            "socket": "/run/flowd.sock",
        },
    }
    if kind in RAWS:
        assert said["argv"] == [str(rig.root / kind.script)]
    else:
        expected = {
            "X_FLOW": "1",
            "CODEX_FLOW_EVENT_ID": "e:1/ü",
            "CODEX_FLOW_RUN_ID": "run_9",
            "CODEX_FLOW_ATTEMPT_ID": "run_9:2",
            "CODEX_FLOW_REPLAY": "1",
            "CODEX_FLOW_LAUNCHED_BY": "flowd",
            "FLOWD_RUN_ID": "run_9",
            "FLOWD_ATTEMPT": "2",
            "FLOWD_FENCE": "41",
            "FLOWD_SOCKET": "/run/flowd.sock",
        }
        assert expected.items() <= said["env"].items()


@pytest.mark.parametrize("kind", MODULES, ids=ids)
@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        ("throw", "boom"),
        ("broken", "nowhere_to_be_found"),
        ("list", "must return"),
        ("nothing", "must return"),
        ("status", "fine"),
        ("huge", "1048576 is the most"),
    ],
)
def test_a_step_that_goes_wrong_exits_with_1_and_a_failed_result(
    tmp_path: Path, kind: Kind, behaviour: str, message: str
) -> None:
    ended = done(tmp_path, kind, behaviour)
    assert ended.code == 1
    assert ended.said["status"] == "failed"
    assert message in ended.said["message"]
    assert message in ended.stderr


@pytest.mark.parametrize("kind", MODULES, ids=ids)
def test_an_open_timer_does_not_hold_the_step_up(tmp_path: Path, kind: Kind) -> None:
    ended = done(tmp_path, kind, "timer")
    assert (ended.code, ended.said) == (0, {"status": "completed"})


@pytest.mark.parametrize("kind", MODULES, ids=ids)
def test_a_large_result_after_unterminated_output_arrives_whole_on_its_own_line(tmp_path: Path, kind: Kind) -> None:
    ended = done(tmp_path, kind, "large")
    assert (ended.code, ended.said) == (0, {"status": "completed", "big": "ü" * 100_000})
    assert ended.stdout.startswith(b"x" * 300_000 + b"\nFLOW_RESULT ")
    assert ended.stdout.count(b"\n") == 2


def through_a_slow_pipe(tmp_path: Path, kind: Kind, source: str) -> Done:
    rig = made(tmp_path, kind)
    rig.write(kind.script, source)
    command = rig.command(kind.runner, kind.script)
    (tmp_path / "stdin").write_bytes(command.stdin)
    with (
        open(tmp_path / "stdin", "rb") as stdin,
        subprocess.Popen(
            command.argv, cwd=command.cwd, env={**rig.environ, **command.env}, stdin=stdin, stdout=subprocess.PIPE
        ) as process,
    ):
        assert process.stdout is not None
        stdout = bytearray()
        while chunk := os.read(process.stdout.fileno(), 4096):
            stdout += chunk
            time.sleep(0.0005)  # what makes the pipe slow
        code = process.wait(timeout=30)
    return Done(code, bytes(stdout), "")


@pytest.mark.parametrize("kind", MODULES, ids=ids)
def test_output_through_a_slow_pipe_arrives_whole(tmp_path: Path, kind: Kind) -> None:
    ended = through_a_slow_pipe(tmp_path, kind, kind.sources["large"])
    assert (ended.code, ended.said) == (0, {"status": "completed", "big": "ü" * 100_000})
    assert ended.stdout.count(b"x") == 300_000


def test_a_result_arrives_whole_through_a_pipe_that_a_child_has_made_one_that_does_not_wait(tmp_path: Path) -> None:
    source = (
        "import os\ndef run(context):\n    os.set_blocking(1, False)\n"
        "    return {'status': 'completed', 'big': 'x' * 900_000}\n"
    )
    ended = through_a_slow_pipe(tmp_path, PYTHON_MODULE, source)
    assert (ended.code, ended.said) == (0, {"status": "completed", "big": "x" * 900_000})


@pytest.mark.parametrize("kind", MODULES, ids=ids)
def test_a_step_imports_its_siblings(tmp_path: Path, kind: Kind) -> None:
    rig = made(tmp_path, kind)
    rig.write(kind.script, kind.sources["sibling"])
    rig.write("exec/sibling.py", "NAME = 'a sibling'")
    rig.write("exec/sibling.mjs", "export const NAME = 'a sibling'")
    assert run(rig.command(kind.runner, kind.script), rig.environ, tmp_path).said["message"] == "a sibling"


@pytest.mark.parametrize("kind", MODULES, ids=ids)
def test_a_comment_about_results_and_an_open_line_do_no_harm(tmp_path: Path, kind: Kind) -> None:
    ended = done(tmp_path, kind, "comment")
    assert ended.stdout == b'no newline\nFLOW_RESULT {"status":"skipped"}\n'
    assert ended.code == 0


@pytest.mark.parametrize("kind", MODULES, ids=ids)
def test_an_exit_by_the_step_itself_stands(tmp_path: Path, kind: Kind) -> None:
    ended = done(tmp_path, kind, "exit")
    assert (ended.code, ended.stdout) == (7, b"")


@pytest.mark.parametrize("kind", MODULES[1:], ids=ids)
@pytest.mark.parametrize(
    "source",
    [
        "export default () => new Promise(() => {})",
        "setTimeout(() => { throw new Error('never settled') }, 1); export default () => new Promise(() => {})",
        "export default () => { Promise.reject(new Error('never settled')); return new Promise(() => {}) }",
    ],
)
def test_a_promise_that_cannot_settle_and_a_stray_error_are_failures(tmp_path: Path, kind: Kind, source: str) -> None:
    rig = made(tmp_path, kind)
    rig.write(kind.script, source)
    ended = run(rig.command(kind.runner, kind.script), rig.environ, tmp_path)
    assert ended.code == 1
    assert ended.said["status"] == "failed"
    assert "never settled" in ended.said["message"]


HELPERS = [
    f"{base}/{runtime}"
    for base in ("@peezy.tech/codex-flows", "@peezy-tech/codex-flows", "@peezy.tech")
    for runtime in ("flow-runtime/bun", "flow-runtime/node")
]


@pytest.mark.parametrize("kind", MODULES[1:], ids=ids)
def test_the_typing_helpers_need_not_be_installed(tmp_path: Path, kind: Kind) -> None:
    rig = made(tmp_path, kind)
    imports = "".join(
        f"import {{ define{'Bun' if name.endswith('bun') else 'Node'}Flow as d{n} }} from '{name}';\n"
        for n, name in enumerate(HELPERS)
    )
    calls = "(".join(f"d{n}" for n in range(len(HELPERS)))
    rig.write(kind.script, f"{imports}export default {calls}(() => ({{status: 'completed'}}){')' * len(HELPERS)}")
    ended = run(rig.command(kind.runner, kind.script), rig.environ, tmp_path)
    assert (ended.code, ended.said) == (0, {"status": "completed"}), ended.stderr


@pytest.mark.parametrize("kind", MODULES[1:], ids=ids)
def test_installed_typing_helpers_are_used(tmp_path: Path, kind: Kind) -> None:
    rig = made(tmp_path, kind)
    package = "node_modules/@peezy.tech/flow-runtime"
    rig.write(f"{package}/package.json", json.dumps({"name": "x", "type": "module", "exports": {"./bun": "./bun.js"}}))
    rig.write(f"{package}/bun.js", "export const defineBunFlow = () => () => ({status: 'skipped', message: 'mine'})")
    rig.write(
        kind.script, "import {defineBunFlow} from '@peezy.tech/flow-runtime/bun'; export default defineBunFlow(1)"
    )
    assert run(rig.command(kind.runner, kind.script), rig.environ, tmp_path).said["message"] == "mine"


@pytest.mark.parametrize("kind", MODULES[1:], ids=ids)
@pytest.mark.parametrize("is_module", [True, False])
def test_the_context_can_be_read_with_the_helper(tmp_path: Path, kind: Kind, *, is_module: bool) -> None:
    rig = made(tmp_path, kind)
    read = "import { readFlowContext } from '@peezy.tech/codex-flows/flow-runtime/bun';\n"
    result = "{status: 'completed', message: (await readFlowContext()).flow.name}"
    rig.write(
        kind.script,
        f"{read}export default async () => ({result})"
        if is_module
        else f"{read}console.log('FLOW_RESULT ' + JSON.stringify({result}))",
    )
    ended = run(rig.command(kind.runner, kind.script), rig.environ, tmp_path)
    assert (ended.code, ended.said) == (0, {"status": "completed", "message": "demo"}), ended.stderr


@pytest.mark.parametrize("is_module", [True, False])
@pytest.mark.parametrize("where", ["tsconfig", "extended"])
def test_helpers_that_a_tsconfig_resolves_are_not_shadowed(tmp_path: Path, where: str, *, is_module: bool) -> None:
    (kind,) = [one for one in MODULES if one.runner == "bun"]
    rig = made(tmp_path, kind)
    paths = {"compilerOptions": {"baseUrl": ".", "paths": {"@peezy.tech/flow-runtime/bun": ["./lib/real.ts"]}}}
    rig.write("lib/real.ts", "export const more = 'real';")
    if where == "tsconfig":
        rig.write("tsconfig.json", json.dumps(paths))
    else:
        rig.write("base.json", json.dumps(paths))
        rig.write("tsconfig.json", json.dumps({"extends": "./base.json"}))
    source = "import { more } from '@peezy.tech/flow-runtime/bun';\n"
    result = "{status: 'completed', message: more}"
    line = (
        f"export default () => ({result})" if is_module else f"console.log('FLOW_RESULT ' + JSON.stringify({result}))"
    )
    rig.write(kind.script, source + line)
    ended = run(rig.command("bun", kind.script), rig.environ, tmp_path)
    assert (ended.code, ended.said) == (0, {"status": "completed", "message": "real"}), ended.stderr


def test_a_context_of_four_megabytes_reaches_the_step(tmp_path: Path) -> None:
    rig = made(tmp_path, PYTHON_MODULE)
    rig.write(
        "exec/step.py", "def run(c):\n    return {'status': 'completed', 'n': len(c['flow']['event']['payload'])}"
    )
    context = step_context(event={"id": "e", "type": "t", "payload": ["ä" * 7] * 200_000})
    assert len(context.event_json) > 4_000_000
    ended = run(rig.command("python", "exec/step.py", context=context), rig.environ, tmp_path)
    assert ended.said["n"] == 200_000


def test_the_context_is_indented_by_two_and_leaves_out_what_is_unknown(tmp_path: Path) -> None:
    rig = made(tmp_path, PYTHON_MODULE)
    rig.write("exec/step.py", "def run(c): ...")
    stdin = rig.command("python", "exec/step.py").stdin
    assert stdin.startswith(b'{\n  "flow": {\n    "name": "demo",\n    "version": 1,\n')
    assert stdin.endswith(b'\n    "launchedBy": "flowd"\n  }\n}\n')
    assert b"null" not in stdin
    assert "config" not in json.loads(stdin)["flow"]
    assert json.dumps(json.loads(stdin), indent=2).encode() + b"\n" == stdin


def test_the_workspace_backend_is_passed_on_when_it_is_known(tmp_path: Path) -> None:
    rig = made(tmp_path, PYTHON_MODULE)
    rig.write("exec/step.py", "def run(c): ...")
    rig.environ["CODEX_WORKSPACE_BACKEND_WS_URL"] = "ws://127.0.0.1:3586"
    command = rig.command("python", "exec/step.py")
    assert json.loads(command.stdin)["runtime"]["workspaceBackendUrl"] == "ws://127.0.0.1:3586"
    assert command.env["CODEX_WORKSPACE_BACKEND_WS_URL"] == "ws://127.0.0.1:3586"


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
