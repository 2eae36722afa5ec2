"""A step that cannot start says what is missing and what to do, and interpreters are found where they should be."""

import asyncio
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from runner_rig import Rig, interpreter, run, step_context

from flowd.domain.launching import SpawnError
from flowd.runners.commands import BOOTSTRAPS
from flowd.runners.interpreters import Interpreters, is_shim

HELLO = "def run(context):\n    return {'status': 'completed'}\n"


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    rig = Rig(tmp_path / "ws", interpreters={"python": sys.executable})
    rig.root.mkdir(parents=True)
    return rig


@pytest.fixture
def bin_dir(tmp_path: Path, rig: Rig) -> Path:
    """An empty folder that is all of the daemon's PATH beside the system's shell."""
    folder = tmp_path / "bin"
    folder.mkdir()
    rig.environ = {"PATH": str(folder), "HOME": str(tmp_path)}
    rig.interpreters = {}
    return folder


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def refusal(rig: Rig, runner: str, script: str, **members: object) -> str:
    with pytest.raises(SpawnError) as caught:
        rig.command(runner, script, **members)
    message = str(caught.value)
    assert message.startswith("demo/s: ")
    return message


# --- scripts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("runner", ["python", "node", "bun", "exec"])
def test_a_missing_script_is_named(rig: Rig, runner: str) -> None:
    message = refusal(rig, runner, "exec/gone")
    assert f"the script {rig.root}/exec/gone does not exist" in message
    assert f"{rig.root}/flow.toml" in message


def test_a_script_that_is_a_folder_or_a_pipe_is_refused(rig: Rig) -> None:
    (rig.root / "folder").mkdir()
    os.mkfifo(rig.root / "pipe")
    assert "is a folder, not a regular file" in refusal(rig, "python", "folder")
    assert "is a named pipe, not a regular file" in refusal(rig, "exec", "pipe")


def test_a_name_that_no_file_can_have_is_refused(rig: Rig) -> None:
    assert "null" in refusal(rig, "python", "a\0b")
    assert "ENAMETOOLONG" in refusal(rig, "python", "x" * 300)
    assert "null" in refusal(rig, "python", "../a\0b")


def test_scripts_may_lie_outside_the_package(rig: Rig, tmp_path: Path) -> None:
    (rig.workspace / "shared.py").write_text(HELLO)
    assert rig.command("python", "../../shared.py").argv[-1] == str(rig.workspace / "shared.py")
    assert rig.command("python", str(rig.workspace / "shared.py")).argv[-1] == str(rig.workspace / "shared.py")


def test_an_exec_script_without_run_bit_is_told_chmod(rig: Rig) -> None:
    path = rig.write("run me.sh", "#!/bin/sh\n", mode=0o644)
    assert f"is not executable; run `chmod +x '{path}'`" in refusal(rig, "exec", "run me.sh")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("echo hello\n", "has no #! line"),
        ("", "has no #! line"),
        ("#!\necho\n", "has an empty #! line"),
        ("#!/bin/sh\r\necho\r\n", "carriage return"),
        ("#!/no/such/interpreter -x\n", "asks for the interpreter /no/such/interpreter, which does not exist"),
        ("#!/etc/passwd\n", "asks for the interpreter /etc/passwd, which is not executable"),
        ("#!/usr/bin/env no-such-program\n", "asks env for no-such-program, which is not on the step's PATH"),
        ("#!/usr/bin/env -S no-such-program --x\n", "asks env for no-such-program"),
        ("#!/usr/bin/env -S A=1 no-such-program\n", "asks env for no-such-program"),
    ],
)
def test_an_exec_script_that_the_kernel_would_refuse_is_explained(rig: Rig, text: str, complaint: str) -> None:
    rig.write("s", text, mode=0o755)
    assert complaint in refusal(rig, "exec", "s")


@pytest.mark.skipif(sys.platform != "linux", reason="other kernels split the #! line")
def test_an_env_line_with_arguments_is_told_the_option(rig: Rig) -> None:
    rig.write("s", "#!/usr/bin/env sh -e\n", mode=0o755)
    assert "write #!/usr/bin/env -S sh -e" in refusal(rig, "exec", "s")


def test_what_the_checks_let_through_the_kernel_starts(rig: Rig, tmp_path: Path) -> None:
    scripts = {
        "plain": "#!/bin/sh\necho ok",
        "spaced": "#! /bin/sh -e\necho ok",
        "env": "#!/usr/bin/env sh\necho ok",
        "split": "#!/usr/bin/env -S sh -e\necho ok",
        "option": "#!/usr/bin/env -uX sh\necho ok" if sys.platform != "linux" else "#!/usr/bin/env sh\necho ok",
    }
    for name, text in scripts.items():
        rig.write(name, text, mode=0o755)
        ended = run(rig.command("exec", name), rig.environ, tmp_path)
        assert (ended.code, ended.stdout) == (0, b"ok\n"), name


def test_a_program_that_is_no_script_is_started(rig: Rig, tmp_path: Path) -> None:
    shutil.copy(os.path.realpath("/bin/true"), rig.root / "true")
    assert run(rig.command("exec", "true"), rig.environ, tmp_path).code == 0


def test_env_finds_programs_on_the_path_of_the_step(rig: Rig, tmp_path: Path) -> None:
    program(tmp_path / "mine" / "my-sh", "#!/bin/sh\necho mine\n")
    rig.write("s", "#!/usr/bin/env my-sh\n", mode=0o755)
    assert "asks env for my-sh" in refusal(rig, "exec", "s")
    command = rig.command("exec", "s", env={"PATH": f"{tmp_path}/mine:{os.environ['PATH']}"})
    assert run(command, rig.environ, tmp_path).stdout == b"mine\n"


# --- working folders -------------------------------------------------------------------------------------------------


def test_the_working_folder_is_where_the_step_asks(rig: Rig, tmp_path: Path) -> None:
    rig.write("s.py", HELLO)
    (rig.root / "sub").mkdir()
    (rig.workspace / "in").mkdir()
    expected = {
        None: rig.root,
        "": rig.root,
        ".": rig.root,
        "sub": rig.root / "sub",
        "../..": rig.workspace,
        str(tmp_path): tmp_path,
        "@": rig.workspace,
        "@/": rig.workspace,
        "@/in": rig.workspace / "in",
        "@/in/..": rig.workspace,
    }
    assert {cwd: rig.command("python", "s.py", cwd=cwd).cwd for cwd in expected} == {
        cwd: str(folder) for cwd, folder in expected.items()
    }


def test_a_bad_working_folder_is_blamed_rather_than_the_interpreter(rig: Rig) -> None:
    rig.write("s.py", HELLO)
    assert f"cwd 'gone' is {rig.root}/gone, which does not exist" in refusal(rig, "python", "s.py", cwd="gone")
    assert f"cwd '@/gone' is {rig.workspace}/gone, which does not exist" in refusal(rig, "python", "s.py", cwd="@/gone")
    assert "which is not a folder" in refusal(rig, "python", "s.py", cwd="s.py")


def test_a_workspace_folder_cannot_lead_out_of_the_workspace(rig: Rig, tmp_path: Path) -> None:
    rig.write("s.py", HELLO)
    (rig.workspace / "link").symlink_to(tmp_path)
    for cwd in ("@/..", "@/../ws2", "@//etc", "@/link"):
        assert "outside the workspace" in refusal(rig, "python", "s.py", cwd=cwd), cwd


def test_a_flow_folder_that_is_gone_is_named(rig: Rig) -> None:
    rig.root.rmdir()
    assert f"the flow's folder {rig.root} is gone" in refusal(rig, "python", "s.py")


# --- environment and gate --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("A=B", "x", "is not a name"),
        ("", "x", "is not a name"),
        ("A\0", "x", "is not a name"),
        ("A", "x\0y", "NUL"),
        ("A", "x" * 131_072, "131071 bytes"),
    ],
)
def test_a_variable_that_no_environment_can_hold_is_refused(rig: Rig, name: str, value: str, complaint: str) -> None:
    rig.write("s.py", HELLO)
    assert complaint in refusal(rig, "python", "s.py", env={name: value})


def test_the_largest_variable_that_is_let_through_can_be_passed(rig: Rig, tmp_path: Path) -> None:
    rig.write("s", "#!/bin/sh\necho ${#A}\n", mode=0o755)
    ended = run(rig.command("exec", "s", env={"A": "x" * (131_071 - 2)}), rig.environ, tmp_path)
    assert ended.stdout == b"131069\n"


def test_the_steps_own_variables_cannot_pretend_to_be_another_run(rig: Rig) -> None:
    rig.write("s.py", HELLO)
    command = rig.command("python", "s.py", env={"CODEX_FLOW_RUN_ID": "run_other", "MINE": "1"})
    assert (command.env["CODEX_FLOW_RUN_ID"], command.env["MINE"]) == ("run_1", "1")


def test_code_mode_is_refused_with_or_without_its_gate(rig: Rig) -> None:
    assert "requires CODEX_FLOWS_ENABLE_CODE_MODE=1" in refusal(rig, "code-mode", "s.md")
    for gate in ({"CODEX_FLOWS_ENABLE_CODE_MODE": " Yes "}, {"CODEX_FLOWS_MODE": "Code-Mode"}):
        rig.environ = gate
        assert "does not work with flowd: it needs a method of the agent that only a private fork has" in refusal(
            rig, "code-mode", "s.md"
        )


def test_an_unknown_runner_of_a_stored_run_is_refused(rig: Rig) -> None:
    rig.write("s", "")
    assert 'does not know the runner "ruby"' in refusal(rig, "ruby", "s")


# --- interpreters ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("runner", ["bun", "node"])
def test_a_missing_interpreter_is_refused_with_install_and_setting(rig: Rig, bin_dir: Path, runner: str) -> None:
    rig.write("s.mjs", "1")
    message = refusal(rig, runner, "s.mjs")
    assert f"{runner} is not on flowd's PATH" in message
    assert "Install" in message
    assert f'`[runners] {runner} = "/path"`' in message


def test_an_interpreter_setting_that_leads_nowhere_is_refused(rig: Rig, bin_dir: Path) -> None:
    rig.write("s.mjs", "1")
    rig.interpreters = {"node": "/no/such/node", "bun": "no-such-bun"}
    assert "`[runners] node` names /no/such/node, which is not an executable file" in refusal(rig, "node", "s.mjs")
    assert "`[runners] bun` names no-such-bun" in refusal(rig, "bun", "s.mjs")
    rig.environ["CODEX_FLOW_BACKEND_BUN"] = "/no/such/bun"
    assert "CODEX_FLOW_BACKEND_BUN names /no/such/bun" in refusal(rig, "bun", "s.mjs")


def test_without_any_python_flowds_own_is_taken(rig: Rig, bin_dir: Path, tmp_path: Path) -> None:
    rig.write("s.py", HELLO)
    command = rig.command("python", "s.py")
    assert command.argv[0] == sys.executable
    assert run(command, rig.environ, tmp_path).said == {"status": "completed"}


def test_a_python_of_a_virtual_environment_stays_that_environments(rig: Rig, bin_dir: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=False, symlinks=True)
    rig.environ["PATH"] = f"{tmp_path}/venv/bin:{bin_dir}"
    rig.write("s.py", "import sys\ndef run(c):\n    return {'status': 'completed', 'message': sys.prefix}")
    command = rig.command("python", "s.py")
    assert command.argv[0] == f"{tmp_path}/venv/bin/python3"
    assert run(command, rig.environ, tmp_path).said["message"] == f"{tmp_path}/venv"


def test_a_shim_is_asked_once_in_the_workspace_and_again_after_a_change(rig: Rig, tmp_path: Path) -> None:
    log = tmp_path / "asked"
    shim = program(tmp_path / "shims" / "python3", f'#!/bin/sh\npwd >> "{log}"\nexec "{sys.executable}" "$@"\n')
    rig.environ["PATH"] = f"{shim.parent}:{os.environ['PATH']}"
    rig.interpreters = {}
    rig.write("s.py", HELLO)
    runners = rig.runners()

    def program_of_step() -> str:
        return asyncio.run(runners.command(rig.definition("python", "s.py"), step_context())).argv[0]

    assert [program_of_step() for _ in range(3)] == [sys.executable] * 3
    assert log.read_text().splitlines() == [str(rig.workspace)]
    (rig.workspace / ".python-version").write_text("3.11")
    assert program_of_step() == sys.executable
    assert len(log.read_text().splitlines()) == 2


def test_a_shim_of_node_or_bun_is_passed_by(rig: Rig, tmp_path: Path) -> None:
    for runner in ("node", "bun"):
        real = interpreter(runner)
        shim = program(tmp_path / "shims" / runner, f'#!/bin/sh\necho noise\nexec "{real}" "$@"\n')
        found = Interpreters(
            workspace=rig.workspace, environ={**os.environ, "PATH": f"{shim.parent}:/usr/bin:/bin"}, overrides={}
        ).find(runner)
        assert found == os.path.realpath(real)


def test_a_shim_that_is_no_script_is_known_by_its_folder(rig: Rig, tmp_path: Path) -> None:
    real = os.path.realpath(interpreter("node"))
    (tmp_path / "shims").mkdir()
    (tmp_path / "shims" / "node").symlink_to(real)
    found = Interpreters(workspace=rig.workspace, environ={"PATH": f"{tmp_path}/shims"}, overrides={})
    assert found.find("node") == real


def test_a_shim_without_a_version_is_refused_for_node_and_passed_over_for_python(rig: Rig, tmp_path: Path) -> None:
    for name in ("node", "python3"):
        program(tmp_path / "shims" / name, "#!/bin/sh\necho 'no version is set' >&2\nexit 126\n")
    found = Interpreters(workspace=rig.workspace, environ={"PATH": f"{tmp_path}/shims:/usr/bin:/bin"}, overrides={})
    with pytest.raises(SpawnError, match=r"shim and did not say which node it stands for \(no version is set"):
        found.find("node")
    assert found.find("python") == sys.executable


def test_a_wrapper_that_the_settings_name_is_kept(rig: Rig, tmp_path: Path) -> None:
    wrapper = program(tmp_path / "my-python", f'#!/bin/sh\nWRAPPED=1 exec "{sys.executable}" "$@"\n')
    assert is_shim(str(wrapper))
    rig.interpreters = {"python": str(wrapper)}
    rig.write("s.py", "import os\ndef run(c):\n    return {'status': 'completed', 'message': os.environ['WRAPPED']}")
    assert run(rig.command("python", "s.py"), rig.environ, tmp_path).said["message"] == "1"


def test_the_reference_systems_bun_variable_is_honoured(rig: Rig, tmp_path: Path) -> None:
    rig.environ["CODEX_FLOW_BACKEND_BUN"] = str(program(tmp_path / "my-bun", "#!/bin/sh\n"))
    rig.write("s.ts", "1")
    assert rig.command("bun", "s.ts").argv == (str(tmp_path / "my-bun"), str(rig.root / "s.ts"))


def test_an_interpreter_that_went_away_is_looked_for_again(rig: Rig, bin_dir: Path) -> None:
    first = program(bin_dir / "node", "\x7fELF")
    found = Interpreters(workspace=rig.workspace, environ=rig.environ, overrides={})
    assert found.find("node") == str(first)
    assert found.cached("node") == str(first)
    first.unlink()
    assert found.cached("node") is None
    with pytest.raises(SpawnError, match="node is not on flowd's PATH"):
        found.find("node")


# --- TypeScript on Node, and uv --------------------------------------------------------------------------------------


def fake_node(path: Path, version: str) -> Path:
    """A Node of any version as far as its answer goes: the rest is the real one's."""
    real = interpreter("node")
    return program(path, f'#!/bin/sh\nif [ "$1" = -p ]; then echo "{version}"; else exec "{real}" "$@"; fi\n')


@pytest.mark.parametrize(
    ("version", "options"),
    [
        ("v22.18.0", ()),
        ("v22.6.0", ("--experimental-strip-types",)),
        ("v22.17.1", ("--experimental-strip-types",)),
        ("v23.5.0", ("--experimental-strip-types",)),
        ("v23.6.0", ()),
        ("v24.0.0", ()),
    ],
)
def test_node_runs_typescript_as_its_version_can(
    rig: Rig, tmp_path: Path, version: str, options: tuple[str, ...]
) -> None:
    node = fake_node(tmp_path / "node", version)
    rig.interpreters = {"node": str(node)}
    script = rig.write("s.ts", "console.log(1)")
    assert rig.command("node", "s.ts").argv == (str(node), *options, str(script))
    assert rig.command("node", str(rig.write("s.mjs", "1"))).argv == (str(node), str(rig.root / "s.mjs"))


def test_an_old_node_needs_tsx_for_typescript(rig: Rig, tmp_path: Path, bin_dir: Path) -> None:
    rig.environ["PATH"] = f"{bin_dir}:/usr/bin:/bin"
    node = fake_node(tmp_path / "node", "v20.1.0")
    rig.interpreters = {"node": str(node)}
    script = rig.write("exec/s.ts", "export default () => 1")
    message = refusal(rig, "node", "exec/s.ts")
    assert "version 20.1" in message
    assert "npm install tsx" in message

    on_path = program(bin_dir / "tsx", "#!/bin/sh\n")
    assert rig.command("node", "exec/s.ts").argv[0] == str(on_path)

    nearest = rig.write("node_modules/tsx/dist/cli.mjs", "", mode=0o755)
    (rig.root / "node_modules/.bin").mkdir()
    (rig.root / "node_modules/.bin/tsx").symlink_to("../tsx/dist/cli.mjs")
    argv = rig.command("node", "exec/s.ts").argv
    assert argv[:2] == (str(node), str(nearest))
    assert argv[2].endswith("/bootstraps/module.mjs")
    assert argv[3] == str(script)


METADATA = "# /// script\n# requires-python = '>=3.11'\n# dependencies = ['left-pad-of-python']\n# ///\n"


def test_a_script_with_dependencies_needs_uv(rig: Rig, bin_dir: Path) -> None:
    script = rig.write("s.py", METADATA + "print(1)\n")
    message = refusal(rig, "python", "s.py")
    assert "asks for left-pad-of-python (PEP 723)" in message
    assert "Install uv" in message

    uv = str(program(bin_dir / "uv", "#!/bin/sh\n"))
    assert rig.command("python", "s.py").argv == (uv, "run", "--script", str(script))

    script.write_text(METADATA + HELLO)
    argv = rig.command("python", "s.py").argv
    assert argv[:6] == (uv, "run", "--no-project", "--python", ">=3.11", "--with-requirements")
    assert argv[6:9] == (str(script), "--", "python")
    assert argv[-1] == str(script)


def test_a_script_whose_metadata_asks_for_nothing_runs_without_uv(rig: Rig, bin_dir: Path) -> None:
    script = rig.write("s.py", "# /// script\n# requires-python = '>=3.11'\n# ///\nprint(1)\n")
    assert rig.command("python", "s.py").argv == (sys.executable, str(script))


def test_uv_gives_a_step_what_it_asks_for(rig: Rig, tmp_path: Path) -> None:
    if shutil.which("uv") is None:
        pytest.skip("NOT TESTED: uv is not on PATH; https://docs.astral.sh/uv")
    rig.write("own/pyproject.toml", "[project]\nname = 'own'\nversion = '7'\n")
    rig.write("own/own.py", "VALUE = 7\n")
    metadata = f"# /// script\n# dependencies = ['own @ file://{rig.root}/own']\n# ///\nimport own\n"
    for body in (
        'print(\'FLOW_RESULT {"status": "completed", "n": %d}\' % own.VALUE)',
        "def run(c):\n    return {'status': 'completed', 'n': own.VALUE}",
    ):
        rig.write("s.py", metadata + body)
        ended = run(rig.command("python", "s.py"), rig.environ, tmp_path)
        assert (ended.code, ended.stderr.count("Traceback")) == (0, 0), ended.stderr
        assert ended.said["n"] == 7


def test_a_command_is_made_without_blocking_the_loop(rig: Rig, tmp_path: Path) -> None:
    """While a slow shim is asked, other things go on."""
    go_on = tmp_path / "go-on"
    answer = program(tmp_path / "real", "#!/bin/sh\n")
    shim = program(
        tmp_path / "shims" / "python3",
        f'#!/bin/sh\nwhile [ ! -e "{go_on}" ]; do sleep 0.01; done\necho "{answer}"\n',
    )
    rig.environ["PATH"] = f"{shim.parent}:{os.environ['PATH']}"
    rig.interpreters = {}
    rig.write("s.py", HELLO)

    async def main() -> str:
        task = asyncio.create_task(rig.runners().command(rig.definition("python", "s.py"), step_context()))
        await asyncio.sleep(0)
        # A loop that is blocked gets here only after flowd has given the shim up and taken another Python.
        go_on.touch()
        return (await task).argv[0]

    assert asyncio.run(main()) == str(answer)


def test_the_bootstraps_are_files_that_interpreters_can_read() -> None:
    assert subprocess.run([sys.executable, "-m", "py_compile", BOOTSTRAPS / "module.py"]).returncode == 0
    assert subprocess.run([interpreter("node"), "--check", BOOTSTRAPS / "module.mjs"]).returncode == 0


# --- very large scripts ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("runner", ["python", "node", "bun"])
def test_a_script_of_gigabytes_is_refused_unread(rig: Rig, runner: str) -> None:
    rig.write("s", "")
    os.truncate(rig.root / "s", 2 << 30)
    assert "cannot be read (it is larger than 67108864 bytes, so it is no script)" in refusal(rig, runner, "s")


def test_a_python_script_that_is_large_is_told_by_its_text(rig: Rig) -> None:
    rig.write("s.py", "x = 1\n" * 20_000 + "def run(context):\n    return {}\n")
    assert rig.command("python", "s.py").argv[-2].endswith("module.py")
    rig.write("t.py", "x = 1\n" * 20_000)
    assert not rig.command("python", "t.py").argv[-2].endswith("module.py")
