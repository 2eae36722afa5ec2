"""`flowd validate`: what it finds on disk beyond the manifests' texts, and how it is told."""

import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowd.cli.main import run

HEAD = 'name = "rel"\nversion = 1\n'
STEP = '[[steps]]\nname = "build"\nrunner = "exec"\nscript = "build.sh"\n'
TRIGGER = '[steps.trigger]\ntype = "rel.go"\n'

Check = Callable[..., tuple[int, str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "flows" / "rel"
    found.mkdir(parents=True)
    (found / "build.sh").write_text("#!/bin/sh\n")
    (found / "build.sh").chmod(0o755)
    return found


@pytest.fixture
def check(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Check:
    monkeypatch.chdir(tmp_path)

    def check(*args: str) -> tuple[int, str]:
        code = run(["validate", *args])
        return code, capsys.readouterr().out

    return check


def found(check: Check, *args: str) -> list[dict[str, Any]]:
    findings: list[dict[str, Any]] = json.loads(check("--json", *args)[1])["findings"]
    return findings


def test_a_package_without_mistakes_has_no_findings(folder: Path, check: Check) -> None:
    (folder / "flow.toml").write_text(HEAD + STEP + TRIGGER)
    assert check("--strict") == (0, f"ok rel (1 step) {folder}\n")
    assert found(check) == []


def test_each_finding_has_its_line_with_carets_below_what_is_meant(folder: Path, check: Check) -> None:
    (folder / "flow.toml").write_text(HEAD + "cron = '@daily'\n" + STEP + '\ttimeout_ms = "5m"\n' + TRIGGER)
    assert check() == (
        0,
        f"""ok rel (1 step) {folder}
flows/rel/flow.toml:3:1: warning: unknown key "cron" is ignored
   3 | cron = '@daily'
     | ^^^^
     = A schedule sends an event at its times: [[schedules]] with name, cron = "30 2 * * *" and a type.
flows/rel/flow.toml:8:15: warning: step "build": timeout_ms must be a number of milliseconds, got "5m"; \
300000 is used; did you mean 300000?
   8 |     timeout_ms = "5m"
     |                  ^^^^
     = Write timeout_ms = 300000.
0 errors, 2 warnings
""",
    )


def test_warnings_fail_the_check_where_that_is_asked_for(folder: Path, check: Check) -> None:
    (folder / "flow.toml").write_text(HEAD + "cron = '@daily'\n" + STEP + TRIGGER)
    assert (check()[0], check("--strict")[0]) == (0, 1)


def test_findings_are_json_with_every_member(folder: Path, check: Check) -> None:
    (folder / "flow.toml").write_text(HEAD + 'cronn = ""\n' + STEP.replace('"exec"', '"bash"') + TRIGGER)
    warning, error = found(check)
    assert error == {
        "path": str(folder / "flow.toml"),
        "line": 6,
        "column": 10,
        "endColumn": 16,
        "severity": "error",
        "code": "unknown-value",
        "message": 'step 1: runner "bash" is unknown',
        "remedy": "Use one of bun, node, python, exec, code-mode.",
        "suggestion": "exec",
    }
    assert warning.keys() == error.keys()
    (broken,) = json.loads(check("--json")[1])["broken"]
    assert (broken["error"], broken["line"]) == (error["message"], 6)


def test_files_of_several_steps_are_all_looked_at(folder: Path, check: Check) -> None:
    (folder / "bad.json").write_text('{\n"type": ,}')
    more = STEP.replace("build", "test") + '[steps.trigger]\ntype = "a"\nschema = "no.json"\n'
    third = STEP.replace('"build"', '"pack"') + '[steps.trigger]\ntype = "a"\nschema = "bad.json"\n'
    (folder / "flow.toml").write_text(HEAD + STEP + TRIGGER + more + third + "grace_ms = true\n")
    assert [(Path(one["path"]).name, one["line"], one["code"]) for one in found(check)] == [
        ("bad.json", 2, "bad-schema"),
        ("flow.toml", 12, "missing-script"),
        ("flow.toml", 15, "missing-schema"),
        ("flow.toml", 23, "unknown-key"),
    ]


@pytest.mark.parametrize(
    ("step", "line", "code"),
    [
        ("", 3, "never-runs"),
        ('cwd = "nowhere"\n' + TRIGGER, 7, "unusable-cwd"),
        ('cwd = "@/../.."\n' + TRIGGER, 7, "unusable-cwd"),
        ('[steps.trigger]\ntype = " rel.go"\n', 8, "blank-in-type"),
        ('[steps.trigger]\ntype = "rel.*.go"\n', 8, "doubtful-value"),
        ('[steps.trigger]\ntype = "a"\nschema = "event.json"\n', 9, "never-matches"),
        ('[steps.trigger]\ntype = "a"\nschema = "closed.json"\n', 9, "never-matches"),
    ],
)
def test_what_is_allowed_and_not_meant_is_a_warning(
    folder: Path, check: Check, step: str, line: int, code: str
) -> None:
    event = {"properties": {"type": {}, "payload": {}}}
    (folder / "event.json").write_text(json.dumps(event))
    closed = {"required": ["tag"], "properties": {"tga": {}}, "additionalProperties": False}
    (folder / "closed.json").write_text(json.dumps(closed))
    (folder / "flow.toml").write_text(HEAD + STEP + step)
    assert [(one["line"], one["code"], one["severity"]) for one in found(check)] == [(line, code, "warning")]


@pytest.mark.parametrize(
    ("runner", "script", "text", "said", "remedy"),
    [
        ("bun", "a.ts", "", "bun is not on flowd's PATH", "Install Bun"),
        ("node", "a.mjs", "", "node is not on flowd's PATH", "Install Node"),
        ("python", "a.sh", "", "runner python does not run scripts that end in .sh", ""),
        ("python", "a.py", '# /// script\n# dependencies = ["rich"]\n# ///\n', "asks for rich (PEP 723)", "Install uv"),
        ("exec", "a", "#!/not/here\n", "/not/here", ""),
        ("exec", "a", "#!/usr/bin/env nothing-like-it\n", "asks env for nothing-like-it", "Install it, or set PATH"),
    ],
)
def test_a_step_that_could_not_be_started_here_is_a_warning(
    folder: Path,
    check: Check,
    monkeypatch: pytest.MonkeyPatch,
    runner: str,
    script: str,
    text: str,
    said: str,
    remedy: str,
) -> None:
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("CODEX_FLOW_BACKEND_BUN", raising=False)
    monkeypatch.delenv("FLOWD_BUN", raising=False)
    (folder / script).write_text(text)
    (folder / script).chmod(0o755)
    step = f'[[steps]]\nname = "s"\nrunner = "{runner}"\nscript = "{script}"\n'
    (folder / "flow.toml").write_text(HEAD + step + TRIGGER)
    (one,) = found(check)
    assert (one["line"], one["severity"]) == (5 if one["code"] == "unusable-runner" else 6, "warning")
    assert said in one["message"]
    assert (one["remedy"] or "").startswith(remedy)


@pytest.mark.parametrize(("runner", "script"), [("python", "a.py"), ("exec", "a")])
def test_a_script_that_is_a_pipe_is_not_waited_for(folder: Path, check: Check, runner: str, script: str) -> None:
    os.mkfifo(folder / script, 0o700)
    step = f'[[steps]]\nname = "s"\nrunner = "{runner}"\nscript = "{script}"\n'
    (folder / "flow.toml").write_text(HEAD + step + TRIGGER)
    (one,) = found(check)
    assert one["code"] == "unusable-script"
    assert one["message"] == f'step "s": script {script} is not a regular file; until it is, its runs fail'


def test_tasks_of_the_workspace_that_are_a_pipe_are_told_and_not_waited_for(
    folder: Path, tmp_path: Path, check: Check
) -> None:
    (folder / "flow.toml").write_text(HEAD + STEP + TRIGGER)
    (tmp_path / ".codex").mkdir()
    (tmp_path / ".codex/flowd.toml").write_text("workspace_tasks = true\n")
    os.mkfifo(tmp_path / ".codex/workspace.toml", 0o600)
    assert [one["message"] for one in found(check)] == ["it cannot be read: it is not a regular file"]


@pytest.mark.parametrize(
    ("script", "beside", "said"),
    [
        ("flowd_step.py", "", "the script has the name of flowd's module flowd_step"),
        ("main.py", "flowd_client.py", "exec/flowd_client.py has the name of flowd's module flowd_client"),
        ("main.py", "json.py", "exec/json.py has the name of Python's module json"),
        ("main.py", "copy/__init__.py", "exec/copy has the name of Python's module copy"),
        ("main.py", "copy/notes.py", None),
        ("main.py", "copy.sh", None),
        ("main.py", "sys.py", None),
    ],
)
def test_what_a_python_step_would_import_in_place_of_a_module_is_told_once(
    folder: Path, check: Check, script: str, beside: str, said: str | None
) -> None:
    for path in (script, beside or script):
        (folder / "exec" / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "exec" / path).write_text("def run(context): ...\n")
    step = f'[[steps]]\nname = "s"\nrunner = "python"\nscript = "exec/{script}"\n'
    (folder / "flow.toml").write_text(HEAD + step + TRIGGER + step.replace('"s"', '"t"') + TRIGGER)
    expected = [] if said is None else [f'step "s": {said}, and is imported in its place']
    assert [one["message"] for one in found(check)] == expected


def test_an_interpreter_that_the_settings_name_is_taken(folder: Path, tmp_path: Path, check: Check) -> None:
    (tmp_path / ".codex").mkdir()
    (tmp_path / ".codex/flowd.toml").write_text('[runners]\nbun = "nothing/bun"\n')
    (folder / "a.ts").touch()
    step = STEP.replace("exec", "bun").replace("build.sh", "a.ts")
    (folder / "flow.toml").write_text(HEAD + step + TRIGGER)
    assert "`[runners] bun` names nothing/bun" in found(check)[0]["message"]


def test_a_package_in_no_workspace_is_checked_where_it_lies(folder: Path, tmp_path: Path, check: Check) -> None:
    alone = folder.rename(tmp_path / "alone")
    (alone / "flow.toml").write_text(HEAD + "paths = []\n" + STEP + TRIGGER)
    for path in (alone, alone / "flow.toml"):
        assert [one["code"] for one in found(check, str(path))] == ["unknown-key"]


def test_a_text_that_is_not_saved_is_checked_in_its_place(
    folder: Path, check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "flow.toml").write_text(HEAD + STEP + TRIGGER)

    def unsaved(text: str, *args: str) -> tuple[int, str]:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        return check("--stdin", *args)

    code, out = unsaved(HEAD + STEP + "grace_ms = -1\n", "flows/rel/flow.toml")
    assert code == 1
    assert out.startswith(f"broken rel {folder}\nflows/rel/flow.toml:7:12: error: ")
    assert "   7 | grace_ms = -1\n     |            ^^\n" in out
    assert unsaved(HEAD + STEP + TRIGGER, "flows/rel/flow.toml") == (0, f"ok rel (1 step) {folder}\n")
    assert unsaved("", "flows/rel")[0] == 2


def test_a_finding_has_one_line_whatever_the_manifest_says(folder: Path, check: Check) -> None:
    watch = '[[watches]]\nname = "w"\ntype = "t"\npaths = ["a\\nflows/b/flow.toml:1:1: error: none"]\n'
    (folder / "flow.toml").write_text(HEAD + watch + STEP + TRIGGER)
    _, told = check()
    assert "flows/rel/flow.toml:6:9: warning: " in told
    assert not [line for line in told.splitlines() if line.startswith("flows/b/")]


def test_a_hidden_package_is_a_warning(folder: Path, tmp_path: Path, check: Check) -> None:
    (folder / "flow.toml").write_text(HEAD + STEP + TRIGGER)
    installed = tmp_path / ".codex/flows/rel"
    installed.mkdir(parents=True)
    for name in ("flow.toml", "build.sh"):
        (installed / name).write_bytes((folder / name).read_bytes())
        (installed / name).chmod(0o755)
    (one,) = found(check)
    assert (one["code"], one["path"], one["line"]) == ("shadowed", str(folder / "flow.toml"), None)


def test_what_is_doubtful_beside_an_error_is_told_with_it(folder: Path, check: Check) -> None:
    wrong = STEP.replace("build", "wrong", 1) + "grace_ms = -1\n"
    (folder / "flow.toml").write_text(HEAD + wrong + STEP + STEP.replace('"build"', '"test"') + 'cwd = "nowhere"\n')
    assert [(one["line"], one["code"]) for one in found(check)] == [
        (7, "out-of-range"),
        (8, "never-runs"),
        (12, "never-runs"),
        (16, "unusable-cwd"),
    ]


def test_what_is_wrong_with_a_file_is_told_where_it_is_named_beside_steps_that_cannot_be_used(
    folder: Path, check: Check
) -> None:
    nameless = STEP.replace("name", "nmae")
    again = STEP.replace("build.sh", "gone.sh") + 'trigger = { type = "rel.go", schema = "gone.json" }\n'
    (folder / "flow.toml").write_text(HEAD + nameless + STEP + TRIGGER + again)
    _, out = check("--json")
    lines = (folder / "flow.toml").read_text().split("\n")
    told = {one["code"]: lines[one["line"] - 1] for one in json.loads(out)["findings"] if one["line"]}
    assert told["missing-script"] == 'script = "gone.sh"'
    assert told["missing-schema"].startswith("trigger = ")
    assert told["duplicate-name"] == 'name = "build"'
