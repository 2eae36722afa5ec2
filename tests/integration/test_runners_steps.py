"""The same step in every runner and style, run for real: one contract, six ways to write a step."""

import json
import os
import subprocess
import time
from pathlib import Path

import pytest
from runner_rig import Done, run, step_context
from step_kinds import MODULES, PYTHON_MODULE, RAWS, Kind, done, ids, made


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
        code = process.wait(timeout=60)
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
