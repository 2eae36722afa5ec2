"""The command line against the real daemon, and the verbs that need none, on real packages."""

import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command_copy import run_flowd

from flowd_client import RunView, create_flow_client

FLOWD = [sys.executable, "-m", "flowd"]
VARIABLES = ("FLOWD_SOCKET", "FLOWD_WORKSPACE", "FLOWD_STATE_DIR", "FLOWD_RUN_ID")
ENV = {name: value for name, value in os.environ.items() if name not in VARIABLES}

COUNT = """#!/bin/sh
for n in 1 2 3; do echo "out $n"; echo "err $n" >&2; sleep 0.1; done
echo 'FLOW_RESULT {"status":"changed"}'
"""
BLOCKED = '#!/bin/sh\necho \'FLOW_RESULT {"status":"blocked","why":"no key"}\'\n'
FAILS = "#!/bin/sh\necho boom >&2\nexit 3\n"
SLEEPS = "#!/bin/sh\necho started\nexec sleep 60\n"


def write_flow(workspace: Path, name: str, script: str) -> None:
    folder = workspace / "flows" / name
    folder.mkdir(parents=True)
    manifest = f'name = "{name}"\nversion = 1\n[[steps]]\nname = "step"\nrunner = "exec"\nscript = "step.sh"\n'
    (folder / "flow.toml").write_text(f'{manifest}[steps.trigger]\ntype = "{name}"\n')
    (folder / "step.sh").write_text(script)
    (folder / "step.sh").chmod(0o755)


def make_workspace(folder: Path) -> Path:
    for name, script in (("count", COUNT), ("blocked", BLOCKED), ("fails", FAILS), ("sleeps", SLEEPS)):
        write_flow(folder, name, script)
    return folder


def flowd(workspace: Path, *args: str, stdin: bytes = b"") -> tuple[int, str, str]:
    done = run_flowd("-w", workspace, *args, env=ENV, stdin=stdin)
    return done.returncode, done.stdout, done.stderr


def answer(workspace: Path, *args: str, code: int = 0) -> Any:
    got, out, err = flowd(workspace, *args, "--json")
    assert got == code, err
    return json.loads(out)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = make_workspace(tmp_path_factory.mktemp("ws"))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*FLOWD, "serve", "-w", str(folder)], env=ENV, stdout=log, stderr=log)
    try:
        give_up_at = time.monotonic() + 30
        while not (folder / ".codex/flowd/flowd.sock").exists():
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < give_up_at
            time.sleep(0.02)
        yield folder
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0, (folder / "log").read_text()


def test_status_tells_of_the_daemon_and_where_each_setting_comes_from(workspace: Path) -> None:
    status = answer(workspace, "status", "--config")
    assert status["state"] == "ready"
    assert status["workspace"] == str(workspace)
    code, out, _ = flowd(workspace, "status", "--config")
    assert code == 0
    assert "max_parallel" in out


def test_settings_are_shown_where_no_daemon_runs(tmp_path: Path) -> None:
    (tmp_path / ".codex").mkdir()
    (tmp_path / ".codex/flowd.toml").write_text("max_parallel = 3\n")
    code, out, err = flowd(tmp_path, "status", "--config")
    assert (code, "No daemon" in err) == (3, True)
    assert "max_parallel = 3                      # .codex/flowd.toml:1 (" in out


def test_an_event_is_run_followed_and_shown(workspace: Path) -> None:
    code, out, err = flowd(workspace, "dispatch", "--type", "count", "--id", "c1", "--wait")
    assert code == 0, err
    assert "changed" in out
    (run,) = answer(workspace, "runs", "--event", "c1")["runs"]
    code, out, err = flowd(workspace, "logs", "-f", run["id"])
    assert (code, out.splitlines()[:3], err.splitlines()) == (
        0,
        ["out 1", "out 2", "out 3"],
        ["err 1", "err 2", "err 3"],
    )
    assert flowd(workspace, "logs", run["id"]) == (code, out, err)
    code, out, _ = flowd(workspace, "run", run["id"])
    assert code == 0
    assert "out 3" in out
    code, out, _ = flowd(workspace, "run", run["id"], "--full")
    assert f"{workspace}/flows/count/step.sh" in out
    code, out, _ = flowd(workspace, "event", "c1")
    assert run["id"] in out


def test_runs_that_end_badly_are_exit_1_and_can_be_retried_and_replayed(workspace: Path) -> None:
    assert flowd(workspace, "dispatch", "--type", "blocked", "--id", "b1", "--wait")[0] == 1
    assert flowd(workspace, "dispatch", "--type", "fails", "--id", "f1", "--wait")[0] == 1
    (run,) = answer(workspace, "runs", "--status", "failed", "--flow", "fails")["runs"]
    retried = answer(workspace, "retry", run["id"], "--wait", code=1)["run"]
    assert (retried["id"], retried["attemptCount"], retried["reason"]) == (run["id"], 2, "exit")
    assert flowd(workspace, "logs", run["id"], "--attempt", "1") == (0, "", "boom\n")
    missing = f"flowd: Run {run['id']} has 2 attempts so far; attempt 9 is none of them.\n"
    assert flowd(workspace, "logs", run["id"], "--attempt", "9") == (4, "", missing)
    assert flowd(workspace, "logs", "-f", run["id"], "--attempt", "9") == (4, "", missing)
    replayed = answer(workspace, "replay", "f1", "--wait", code=1)["runs"]
    assert [item["id"].endswith("_replay") for item in replayed] == [True]


def test_a_running_run_is_canceled(workspace: Path) -> None:
    answer(workspace, "dispatch", "--type", "sleeps", "--id", "s1")
    (run,) = answer(workspace, "cancel", "--event", "s1")["runs"]
    assert run["effectiveStatus"] == "canceled"
    assert flowd(workspace, "cancel", run["id"])[0] == 0, "canceling a canceled run changes nothing"
    assert flowd(workspace, "dispatch", "--type", "sleeps", "--id", "s1", "--wait")[0] == 1


def test_unknown_names_are_exit_4_and_refusals_5(workspace: Path) -> None:
    flowd(workspace, "dispatch", "--type", "count", "--id", "c2", "--wait")
    (run,) = answer(workspace, "runs", "--event", "c2")["runs"]
    assert flowd(workspace, "run", "nope")[0] == 4
    assert flowd(workspace, "event", "nope")[0] == 4
    assert flowd(workspace, "replay", "nope")[0] == 4
    assert flowd(workspace, "logs", "-f", "--event", "nope")[0] == 4
    assert flowd(workspace, "retry", run["id"])[0] == 5
    assert flowd(workspace, "cancel", run["id"])[0] == 5
    assert flowd(workspace, "dispatch", "--id", "no-type")[0] == 2
    assert flowd(workspace, "runs", "--status", "bogus")[0] == 2


def test_the_python_client_follows_a_run_while_it_writes(workspace: Path) -> None:
    with create_flow_client(socket_path=workspace / ".codex/flowd/flowd.sock") as client:
        (run_id,) = client.dispatch_event({"id": "py1", "type": "count"}).run_ids
        said = {"stdout": "", "stderr": ""}
        for kind, text in client.follow_output(run_id):
            said[kind] += text
        run = client.wait_run(run_id)
    assert isinstance(run, RunView)
    assert run.effective_status == "changed"
    assert said["stderr"] == "err 1\nerr 2\nerr 3\n"
    assert said["stdout"].startswith("out 1\nout 2\nout 3\nFLOW_RESULT ")


def test_a_second_daemon_does_not_start(workspace: Path) -> None:
    code, _, err = flowd(workspace, "serve")
    assert code == 78
    assert "serves this workspace already" in err


def test_without_a_daemon_packages_are_validated_explained_and_run(tmp_path: Path) -> None:
    make_workspace(tmp_path)
    event = tmp_path / "event.json"
    event.write_text('{"id": "e1", "type": "blocked"}')

    assert flowd(tmp_path, "validate")[0] == 0
    explained = answer(tmp_path, "explain", str(event))
    assert [step["flow"] for step in explained["steps"] if step["matches"]] == ["blocked"]
    assert "No daemon runs" in flowd(tmp_path, "explain", str(event))[2]
    options = ("--type", "blocked", "--payload", '{"a":1}')
    assert answer(tmp_path, "explain", *options)["steps"] == explained["steps"]
    without_id = flowd(tmp_path, "explain", "-", stdin=b'{"type": "blocked"}')
    assert without_id[:2] == (0, flowd(tmp_path, "explain", *options)[1])
    assert without_id[1].startswith("1 step matches event (blocked)\n")

    blocked = {"flow": "blocked", "step": "step", "result": {"status": "blocked", "why": "no key"}}
    code, out, _ = flowd(tmp_path, "fire", "--event", str(event))
    assert (code, json.loads(out)) == (1, {"eventId": "e1", "results": [blocked]})
    code, out, _ = flowd(tmp_path, "exec", "count", "step", str(event))
    assert (code, json.loads(out)) == (0, {"flow": "count", "step": "step", "result": {"status": "changed"}})
    code, out, err = flowd(tmp_path, "exec", "fails", "step", "-", stdin=b'{"id": "e", "type": "t"}')
    assert code == 1
    assert json.loads(out)["status"] == "failed"
    assert err.startswith("boom\nflowd: fails/step failed in ")
    assert flowd(tmp_path, "exec", "count", "nope", str(event))[0] == 4
    assert flowd(tmp_path, "fire", "-", stdin=b'{"id": "e"}')[0] == 2
    assert not (tmp_path / ".codex").exists(), "nothing is stored"


def test_fire_says_why_an_event_starts_nothing_as_dispatch_does(tmp_path: Path) -> None:
    make_workspace(tmp_path)
    code, out, err = flowd(tmp_path, "fire", "-", stdin=b'{"id": "e", "type": "cuont"}')
    assert (code, json.loads(out)) == (0, {"eventId": "e", "results": []})
    assert err.splitlines() == [
        "flowd: No step matches, so nothing runs. Nearest:",
        "  count/step: waits for type count, not cuont",
        "  Did you mean count?",
        f"`flowd explain -w {tmp_path}` with the same event says it of all 4 steps.",
    ]


@pytest.mark.parametrize("kind", ["bad", "count"])
def test_fire_fails_where_a_broken_package_may_be_meant(tmp_path: Path, kind: str) -> None:
    write_flow(tmp_path, "count", COUNT)
    write_flow(tmp_path, "bad", COUNT)
    event = json.dumps({"id": "e", "type": kind}).encode()
    (tmp_path / "flows/bad/flow.toml").write_text("name = bad\n")  # nobody knows what it waits for
    code, out, err = flowd(tmp_path, "fire", "-", "-q", stdin=event)
    assert (code, len(json.loads(out)["results"])) == (1, int(kind == "count")), err
    assert f"flowd: package broken: {tmp_path}/flows/bad/flow.toml:1: " in err
    assert "flowd: left out bad: its package is broken\n" in err
    assert err.count("flow.toml:1:") == 1
    assert ("flowd: No step matches, so nothing runs. Nearest:\n  Steps wait for count.\n" in err) == (kind == "bad")


def test_fire_is_good_beside_a_broken_package_that_waits_for_something_else(tmp_path: Path) -> None:
    write_flow(tmp_path, "count", COUNT)
    write_flow(tmp_path, "bad", COUNT)
    manifest = tmp_path / "flows/bad/flow.toml"
    manifest.write_text(manifest.read_text() + 'schema = "gone.json"\n')
    assert flowd(tmp_path, "fire", "-", "-q", stdin=b'{"id": "e", "type": "count"}')[0] == 0
    assert flowd(tmp_path, "fire", "-", "-q", stdin=b'{"id": "e", "type": "nobody"}')[0] == 1


@pytest.mark.parametrize(
    ("end", "said"),
    [
        ("exit 3", "exited with 3"),
        ("kill -9 $$", "SIGKILL"),
    ],
)
def test_a_success_that_a_failed_process_printed_is_not_printed_as_its_result(
    tmp_path: Path, end: str, said: str
) -> None:
    write_flow(
        tmp_path,
        "late",
        f"""#!/bin/sh
echo 'FLOW_RESULT {{"status": "completed"}}'; {end}""",
    )
    event = b'{"id": "e", "type": "late"}'
    expected = {"flow": "late", "step": "step", "status": "failed", "reportedResult": {"status": "completed"}}
    for argv in (["fire", "-"], ["exec", "late", "step", "-"]):
        code, out, err = flowd(tmp_path, *argv, stdin=event)
        printed = json.loads(out)
        (report,) = printed["results"] if argv[0] == "fire" else [printed]
        assert said in report.pop("error")
        assert (code, report) == (1, expected)
        assert said in err


def test_validate_warns_of_a_secret_that_the_settings_do_not_name(tmp_path: Path) -> None:
    write_flow(tmp_path, "rel", COUNT)
    folder = tmp_path / "flows/rel"
    with (folder / "flow.toml").open("a") as manifest:
        manifest.write('\n[steps.env]\nTOKEN = { secret = "npm" }\n')
    words = 'warning: step "step": the settings have no [secrets.npm]; add it to .codex/flowd.toml'
    for paths in ((), (str(folder),)):
        code, out, _ = flowd(tmp_path, "validate", *paths)
        assert (code, words in out) == (0, True), out
    (tmp_path / ".codex").mkdir(exist_ok=True)
    (tmp_path / ".codex/flowd.toml").write_text('[secrets.npm]\nenv = "NPM"\n')
    assert "warning" not in flowd(tmp_path, "validate")[1]
    (tmp_path / ".codex/flowd.toml").write_text("max_parallel = 0\n")
    code, out, _ = flowd(tmp_path, "validate")
    assert (code, "error: max_parallel must be" in out, "[secrets.npm]" in out) == (1, True, False), out


def test_validate_warns_of_a_step_that_no_event_starts(tmp_path: Path) -> None:
    write_flow(tmp_path, "rel", COUNT)
    with (tmp_path / "flows/rel/flow.toml").open("a") as manifest:
        manifest.write('[[steps]]\nname = "lost"\nrunner = "exec"\nscript = "step.sh"\n')
    code, out, _ = flowd(tmp_path, "validate")
    assert (code, 'warning: step "lost": no event starts it' in out) == (0, True), out


def test_validate_names_file_and_line_and_can_look_at_one_package(tmp_path: Path) -> None:
    make_workspace(tmp_path)
    (tmp_path / "flows/bad").mkdir()
    (tmp_path / "flows/bad/flow.toml").write_text('name = "bad"\nversion = "one"\n')
    code, out, err = flowd(tmp_path, "validate")
    assert (code, err) == (1, "")
    assert f"{tmp_path}/flows/bad/flow.toml:2:11: error: version must be a number" in out
    assert answer(tmp_path, "validate", code=1)["broken"][0]["name"] == "bad"
    err = flowd(tmp_path, "fire", "-", stdin=b'{"id": "e", "type": "t"}')[2]
    assert 'bad/flow.toml:2: version must be a number, got "one". Add version = 1.\n' in err
    assert flowd(tmp_path, "validate", str(tmp_path / "flows/count"))[0] == 0
    assert flowd(tmp_path, "validate", str(tmp_path / "flows/bad/flow.toml"))[0] == 1
    assert flowd(tmp_path, "validate", str(tmp_path / "nowhere"))[0] == 2


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (("--cron", "0 4 * * *"), "Runs by the clock: 0 4 * * *, UTC"),
        (("--cron", "0 4 * * *", "--timezone", "Europe/Berlin"), "Runs by the clock: 0 4 * * *, Europe/Berlin"),
        (("--on-save", "*.md", "--on-save", "a.txt"), "Runs when files change: *.md, a.txt"),
    ],
)
def test_a_new_package_that_starts_by_itself_has_a_step_of_its_name(
    tmp_path: Path, options: tuple[str, ...], what: str
) -> None:
    assert flowd(tmp_path, "new", "docs", "--runner", "exec", *options)[0] == 0
    manifest = tomllib.loads((tmp_path / "flows/docs/flow.toml").read_text())
    assert manifest["description"] == what
    assert [(step["name"], step["script"]) for step in manifest["steps"]] == [("docs", "exec/docs.sh")]
    assert flowd(tmp_path, "fire", str(tmp_path / "flows/docs/event.json"))[0] == 0


def test_a_new_package_works_as_it_is(tmp_path: Path) -> None:
    code, out, err = flowd(tmp_path, "new", "hello")
    assert code == 0
    assert len(out.splitlines()) == 5
    assert all(verb in err for verb in (" dev hello ", " serve ", " dispatch "))
    assert flowd(tmp_path, "validate")[0] == 0
    code, out, _ = flowd(tmp_path, "fire", str(tmp_path / "flows/hello/event.json"))
    assert code == 0
    assert json.loads(out)["results"][0]["result"]["status"] == "completed"
    assert flowd(tmp_path, "new", "hello")[0] == 2
