"""What a failed run says of itself: how it ended, what it said last, what was run where; and how people see that."""

import os
import re

import pytest
from command_copy import run_flowd
from daemon_rig import Workspace

TALKS = "echo out-one; echo err-one >&2; printf '10%%\\r99%%\\n' >&2"


def flowd(place: Workspace, *words: str) -> str:
    done = run_flowd("-w", place.path, *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("script", "step", "sentence", "why"),
    [
        ("exit 3", "", "exited with 3", "99% (exit code 3)"),
        ("nothing-of-this-name", "", "exited with 127 (command not found)", "not found (exit code 127)"),
        ("kill -SEGV $$", "", "was ended by SIGSEGV", "was ended by SIGSEGV; its last words: 99%"),
        (
            "exec sleep 60",
            "timeout_ms = 300",
            "timed out after 300 ms (ended by SIGTERM)",
            "timed out after 300 ms (ended by SIGTERM); its last words: 99%",
        ),
        (
            "exit 0",
            "",
            'exited with 0 but printed no FLOW_RESULT line on stdout, such as FLOW_RESULT {"status": "completed"}',
            'exited with 0 but printed no FLOW_RESULT line on stdout, such as FLOW_RESULT {"status": "completed"}',
        ),
    ],
)
def test_a_failure_says_how_it_ended_and_shows_both_streams(
    place: Workspace, script: str, step: str, sentence: str, why: str
) -> None:
    folder = place.flow("f", f"{TALKS}\n{script}", step=step)
    place.start(NOBODYS_BUSINESS="of-the-environment")
    answer = place.call("flow.dispatch", event={"id": "e", "type": "f.go", "payload": {}}, wait=True)
    run = place.call("flow.getRun", runId=answer["runIds"][0])["run"]
    first, *excerpt = run["error"].splitlines()
    assert first == f"Step f/main {sentence}"
    assert run["why"].endswith(why)
    assert excerpt[0] == "stderr:"
    assert "  err-one" in excerpt
    assert "  99%" in excerpt
    assert excerpt[-2:] == ["stdout:", "  out-one"]
    (attempt,) = run["attempts"]
    assert (attempt["error"], attempt["why"]) == (run["error"], run["why"])
    assert attempt["command"] == [str(folder / "main.sh")]
    assert os.path.samefile(attempt["cwd"], folder)
    assert "of-the-environment" not in str(run)
    listed = flowd(place, "runs").splitlines()
    assert len(listed) == 2
    assert listed[1].endswith(why)
    shown = flowd(place, "run", run["id"])
    assert shown.splitlines()[0].startswith("failed  f/main  ")
    assert shown.splitlines()[0].endswith(why)
    assert shown.count("err-one") == 1
    assert f"error    Step f/main {sentence}\n" in flowd(place, "run", run["id"], "--full")
    assert "  out-one\n" in shown


def test_each_attempts_last_words_are_shown(place: Workspace) -> None:
    script = 'echo "words of $FLOWD_ATTEMPT" >&2; exit 1'
    place.flow("f", script, step='[steps.retry]\nmax_attempts = 2\non = ["exit"]\ndelay_ms = 10')
    place.start()
    answer = place.call("flow.dispatch", event={"id": "e", "type": "f.go", "payload": {}}, wait=True)
    shown = flowd(place, "run", answer["runIds"][0])
    assert re.search(r"^attempt  2 of 2(, on \S+)?$", shown, re.MULTILINE)  # on a host, where there may be several
    assert ": words of 1 (exit code 1)\n" in shown
    assert shown.splitlines()[0] == "failed  f/main  words of 2 (exit code 1)"
    _, first, second = flowd(place, "run", answer["runIds"][0], "--full").split("\nattempt  ")[-3:]
    assert "words of 1" in first
    assert "words of 2" in second


def test_silence_is_said(place: Workspace) -> None:
    place.flow("f", "exit 9")
    place.start()
    answer = place.call("flow.dispatch", event={"id": "e", "type": "f.go", "payload": {}}, wait=True)
    run = place.call("flow.getRun", runId=answer["runIds"][0])["run"]
    assert run["error"] == "Step f/main exited with 9\nIt printed nothing on stdout or stderr."
    assert "It printed nothing on stdout or stderr." in flowd(place, "run", run["id"])
