"""What a step is started with: values of its event, of what it needs, secrets that are masked, and flowd in reach."""

import asyncio
import os
import resource
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from daemon_rig import until
from runner_rig import Done, Rig, interpreter, run, step_context

from flowd.domain.inputs import Input
from flowd.domain.launching import Command, SpawnError
from flowd.domain.needs import NeedEnd
from flowd.domain.secrets import SecretSource
from flowd.runners.commands import StepRunners
from flowd.runners.reach import Reach
from flowd.runners.secrets import SecretError, StepSecrets

TAG = Input(pointer="/payload/tag")
TOKEN = {"TOKEN": Input(secret="npm")}


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path / "w", interpreters={"python": interpreter("python")})


def secret_step(
    rig: Rig, script: str, *, value: str = "hunter2!", grace_ms: int = 1000, name: str = "TOKEN", detach: bool = False
) -> Command:
    rig.write("s.sh", f"#!/bin/sh\n{script}\n", mode=0o755)
    secrets = StepSecrets({"npm": SecretSource(env="NPM")}, {"NPM": value})
    runners = StepRunners(
        workspace=rig.workspace, socket_path=None, environ=rig.environ, interpreters={}, secrets=secrets
    )
    inputs = {name: Input(secret="npm")}
    definition = replace(rig.definition("exec", "s.sh", inputs=inputs), grace_ms=grace_ms, detach=detach)
    return asyncio.run(runners.command(definition, step_context()))


def ended(rig: Rig, command: Command) -> Done:
    return run(replace(command, argv=command.started_argv), rig.environ, rig.workspace)


def test_variables_and_arguments_come_from_the_event_and_from_needs_without_a_shell(rig: Rig) -> None:
    rig.write("s.sh", '#!/bin/sh\nprintf "%s|" "$TAG" "$DIR" "$@"\n', mode=0o755)
    event = {"id": "e", "type": "t", "payload": {"tag": "v1; rm -rf $HOME `x`"}}
    command = rig.command(
        "exec", "s.sh",
        context=step_context(event=event, needs=(NeedEnd("fetch", "run_1", "completed", result='{"dir": "/d"}'),)),
        inputs={"TAG": TAG, "DIR": Input(pointer="/dir", need="fetch")},
        args=("--tag", TAG, "a b"),
    )  # fmt: skip
    assert ended(rig, command).stdout.decode() == "v1; rm -rf $HOME `x`|/d|--tag|v1; rm -rf $HOME `x`|a b|"


@pytest.mark.parametrize("runner", ["python", "bun", "node"])
def test_scripts_of_every_runner_get_their_arguments(rig: Rig, runner: str) -> None:
    rig.interpreters[runner] = interpreter(runner)
    script = "import sys; print(sys.argv[1:])" if runner == "python" else "console.log(process.argv.slice(2))"
    name = "s.py" if runner == "python" else "s.mjs"
    rig.write(name, script)
    done = ended(
        rig, rig.command(runner, name, args=("--tag", TAG), context=step_context(event={"payload": {"tag": 1}}))
    )
    assert [word for word in ("--tag", "1") if word in done.stdout.decode()] == ["--tag", "1"], done


def test_an_input_that_is_not_there_keeps_the_step_from_starting_and_is_named(rig: Rig) -> None:
    rig.write("s.sh", "#!/bin/sh\n", mode=0o755)
    with pytest.raises(SpawnError, match=r"demo/s: TAG in \[steps.env\]: the event has nothing at '/payload/tag'"):
        rig.command("exec", "s.sh", inputs={"TAG": TAG})
    with pytest.raises(SpawnError, match="demo/s: argument 2: the event has nothing"):
        rig.command("exec", "s.sh", args=("x", TAG))


def test_a_secret_is_in_the_environment_and_masked_in_both_streams(rig: Rig) -> None:
    command = secret_step(rig, 'test "$TOKEN" = hunter2! || exit 9; echo "a $TOKEN b"; echo "$TOKEN" >&2; exit 3')
    assert command.env["TOKEN"] == "hunter2!"
    assert not any("hunter2" in word for word in command.started_argv)
    done = ended(rig, command)
    assert (done.code, done.stdout, done.stderr) == (3, b"a *** b\n", "***\n")


def test_a_secret_that_is_printed_in_pieces_is_masked(rig: Rig) -> None:
    script = "for part in hun te r2 ! ' end'; do printf %s \"$part\"; sleep 0.05; done"
    assert ended(rig, secret_step(rig, script)).stdout == b"*** end"


def test_the_lines_of_a_secret_of_several_are_masked_one_by_one(rig: Rig) -> None:
    value = "-----BEGIN KEY-----\nQUJDREVGRw==\n-----END KEY-----"
    done = ended(rig, secret_step(rig, "echo first; echo QUJDREVGRw==; echo last", value=value))
    assert done.stdout == b"first\n***\nlast\n"


def test_much_output_is_whole_and_in_order(rig: Rig) -> None:
    done = ended(rig, secret_step(rig, "seq 1 100000"))
    assert done.stdout == b"".join(b"%d\n" % number for number in range(1, 100_001))


def test_a_masked_step_ends_as_its_program_did(rig: Rig) -> None:
    assert ended(rig, secret_step(rig, "kill -USR1 $$")).code == -signal.SIGUSR1
    assert ended(rig, secret_step(rig, "kill -KILL $$")).code == -signal.SIGKILL


def test_a_masked_step_has_its_own_time_to_end(rig: Rig) -> None:
    command = secret_step(rig, "trap 'echo got $TOKEN; exit 4' TERM; echo up; while :; do sleep 0.05; done")
    with subprocess.Popen(
        command.started_argv, env={**rig.environ, **command.env}, stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        os.killpg(process.pid, signal.SIGTERM)
        assert process.stdout.read() == b"got ***\n"
        assert process.wait(60) == 4


def test_what_a_masked_step_leaves_behind_does_not_hold_up_its_end(rig: Rig) -> None:
    assert ended(rig, secret_step(rig, "sleep 60 & echo done")).stdout == b"done\n"


def test_what_a_detached_masked_step_leaves_behind_may_print_on(rig: Rig) -> None:
    go, lived = rig.workspace / "go", rig.workspace / "lived"
    script = f"(until [ -e {go} ]; do sleep 0.02; done; echo a; sleep 0.1; echo b; touch {lived}) & echo up"
    assert ended(rig, secret_step(rig, script, detach=True)).stdout == b"up\n"
    go.touch()
    until(lived.exists, what="what was left behind prints, and lives on")


def test_a_secret_is_masked_whatever_its_variable_is_called(rig: Rig) -> None:
    command = secret_step(rig, "tr '\\0' '\\n' </proc/self/environ", name="A,B")
    done = ended(rig, command)
    assert b"A,B=***\n" in done.stdout
    assert b"hunter2!" not in done.stdout


def test_an_argument_that_no_process_can_be_given_is_named(rig: Rig) -> None:
    rig.write("s.sh", "#!/bin/sh\n", mode=0o755)
    large = step_context(event={"id": "e", "type": "t", "payload": {"tag": "x" * 131_072}})
    with pytest.raises(SpawnError, match="demo/s: argument 2 has more than 131071 bytes"):
        rig.command("exec", "s.sh", args=("a", TAG), context=large)


@pytest.mark.timeout(60)
def test_a_named_pipe_in_a_secret_s_place_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SecretError, match="the secret npm cannot be read: it is not a regular file"):
        StepSecrets({"npm": SecretSource(file=str(tmp_path / "pipe"))}, {}).read("npm")


@pytest.mark.parametrize("command", [("yes",), ("sh", "-c", "yes; exit 1")])
def test_a_command_that_prints_without_end_is_not_listened_to_for_long(command: tuple[str, ...]) -> None:
    secrets = StepSecrets({"npm": SecretSource(command=command)}, {"PATH": os.environ["PATH"]})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(SecretError, match="has more than 65536 bytes"):
        secrets.read("npm")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024  # KiB


def test_secrets_that_take_long_hold_up_no_other_step(rig: Rig) -> None:
    rig.write("s.sh", "#!/bin/sh\n", mode=0o755)
    slow = f"until [ -e {rig.workspace}/go ]; do sleep 0.02; done; echo hunter2!"
    secrets = StepSecrets({"npm": SecretSource(command=("sh", "-c", slow))}, {"PATH": os.environ["PATH"]})
    runners = StepRunners(
        workspace=rig.workspace, socket_path=None, environ=rig.environ, interpreters={}, secrets=secrets
    )
    plain = rig.definition("exec", "s.sh", inputs={"TAG": Input(pointer="/id")})

    async def start() -> list[str]:
        waiting = [
            asyncio.create_task(runners.command(rig.definition("exec", "s.sh", inputs=TOKEN), step_context()))
            for _ in range(20)
        ]
        await asyncio.sleep(0)
        await runners.command(plain, step_context())
        assert not any(task.done() for task in waiting)
        (rig.workspace / "go").touch()
        return [command.env["TOKEN"] for command in await asyncio.gather(*waiting)]

    assert asyncio.run(start()) == ["hunter2!"] * 20


SECRETS = [
    (SecretSource(file="{tmp}/file"), "from-file"),
    (SecretSource(credential="npm"), "from-credential"),
    (SecretSource(env="VALUE"), "from-env"),
    (SecretSource(command=("printf", "from-command\n")), "from-command"),
]


@pytest.mark.parametrize(("source", "value"), SECRETS, ids=[value for _, value in SECRETS])
def test_a_secret_is_read_anew_at_each_start(tmp_path: Path, source: SecretSource, value: str) -> None:
    (tmp_path / "file").write_text("from-file\n")
    (tmp_path / "npm").write_text("from-credential\n")
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path), "VALUE": "from-env", "PATH": os.environ["PATH"]}
    file = None if source.file is None else source.file.format(tmp=tmp_path)
    assert StepSecrets({"x": replace(source, file=file)}, environ).read("x") == value


@pytest.mark.parametrize(
    ("sources", "environ", "message"),
    [
        ({}, {}, r"the settings have no \[secrets.npm\]; add it to .codex/flowd.toml"),
        ({"npm": SecretSource(file="/nowhere/x")}, {}, r"No such file or directory: /nowhere/x; see \[secrets.npm\]"),
        ({"npm": SecretSource(credential="x")}, {}, "systemd gave flowd no credentials"),
        ({"npm": SecretSource(env="X")}, {}, "flowd's environment has no X"),
        ({"npm": SecretSource(env="X")}, {"X": "abc"}, "has fewer than 4 characters, .*; choose a longer one"),
        ({"npm": SecretSource(env="X")}, {"X": ""}, "the secret npm is empty"),
        ({"npm": SecretSource(command=("false",))}, {}, "the command of the secret npm exited with 1"),
        ({"npm": SecretSource(command=("/nowhere/x",))}, {}, "the secret npm cannot be read: No such file"),
    ],
)
def test_a_secret_that_cannot_be_read_keeps_the_step_from_starting(
    rig: Rig, sources: dict[str, SecretSource], environ: dict[str, str], message: str
) -> None:
    rig.write("s.sh", "#!/bin/sh\n", mode=0o755)
    runners = StepRunners(
        workspace=rig.workspace, socket_path=None, environ={}, interpreters={},
        secrets=StepSecrets(sources, {"PATH": os.environ["PATH"], **environ}),
    )  # fmt: skip
    with pytest.raises(SpawnError, match=message):
        asyncio.run(runners.command(rig.definition("exec", "s.sh", inputs=TOKEN), step_context()))


def test_flowd_and_its_client_are_in_reach_whatever_the_path_says_and_nothing_else_is(rig: Rig, tmp_path: Path) -> None:
    reach = Reach(tmp_path / "reach", {"PATH": "/usr/bin:/bin"})
    runners = StepRunners(
        workspace=rig.workspace, socket_path=None, environ={"PATH": "/usr/bin:/bin"},
        interpreters={"python": sys.executable}, reach=reach,
    )  # fmt: skip
    rig.write("s.sh", "#!/bin/sh\nflowd --version; command -v pip; true\n", mode=0o755)
    command = asyncio.run(runners.command(rig.definition("exec", "s.sh"), step_context()))
    done = run(command, {"PATH": "/usr/bin:/bin"}, rig.workspace)
    assert done.stdout.startswith(b"flowd "), done
    assert done.stdout.count(b"\n") == 1 + (shutil.which("pip", path="/usr/bin:/bin") is not None)
    rig.write("s.py", "import flowd_client\nprint(flowd_client.__name__)\n")
    command = asyncio.run(runners.command(rig.definition("python", "s.py"), step_context()))
    plain = replace(command, argv=("/usr/bin/python3", "-S", *command.argv[1:]))
    assert run(plain, {}, rig.workspace).stdout == b"flowd_client\n"


def test_what_a_step_names_itself_comes_before_what_is_in_reach(rig: Rig, tmp_path: Path) -> None:
    reach = Reach(tmp_path / "reach", {"PATH": "/usr/bin:/bin"})
    env = reach.env({"PATH": "/own", "PYTHONPATH": "/mine"}, is_python=True)
    assert env == {"PATH": f"/own:{tmp_path}/reach/bin", "PYTHONPATH": f"/mine:{tmp_path}/reach/python"}
    shutil.rmtree(tmp_path / "reach")
    reach.env({}, is_python=False)
    assert (tmp_path / "reach" / "bin" / "flowd").exists()
