"""Text from outside on a terminal: no control character of it gets through, by any verb."""

import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from daemon_rig import Workspace, say, until, workspace
from terminal_rig import on_terminal

EVIL = "a\x1b]0;owned\x07b\x9b2J\u202egnp\u2066c\x90d"
"""A title, C1 controls that erase the screen, and overrides of the writing direction."""

ID = "a\u202egnp\u2066c"
"""Ids may hold no more of it."""

HARMFUL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")

OURS = re.compile(r"\x1b\[[0-9;]*[mKAJ]|\x1b\[\?25[lh]|\r")
"""The colours, the redrawn line and the hidden cursor that flowd itself writes."""


def harm(said: str) -> list[str]:
    """The control characters in it that are not flowd's own."""
    return HARMFUL.findall(OURS.sub("", said))


@pytest.fixture(scope="module")
def place() -> object:
    with workspace() as it:
        script = r"printf 'x\033]0;owned\007y\302\2332J\342\200\256gnp\n'; printf 'e\033[2Jrr\n' >&2; "
        it.flow("loud", script + say("blocked", message=EVIL))
        it.start()
        event = {"id": ID, "type": "loud.go", "source": EVIL, "payload": {"x": EVIL}}
        answer = it.call("flow.dispatch", event=event, wait=True)
        it.run_id = answer["runs"][0]["id"]  # type: ignore[attr-defined]
        (it.path / "event.json").write_text(json.dumps({**event, "type": ID}))
        yield it


VERBS = {
    "events": ("events",),
    "events --json": ("events", "--json"),
    "event": ("event", ID),
    "event --json": ("event", ID, "--json"),
    "runs": ("runs",),
    "runs --json": ("runs", "--json"),
    "run": ("run", "{run}"),
    "run --json": ("run", "{run}", "--json"),
    "logs": ("logs", "{run}"),
    "logs -f": ("logs", "-f", "{run}"),
    "logs of several": ("logs", "{run}", "{run}"),
    "logs --event": ("logs", "--event", ID),
    "logs -f --event": ("logs", "-f", "--event", ID),
    "dispatch": ("dispatch", "event.json"),
    "explain": ("explain", "event.json"),
    "replay": ("replay", ID, "--wait"),
    "no such run": ("run", EVIL),
    "no such event": ("event", EVIL + "x"),
    "no such file": ("fire", EVIL),
    "no such step": ("exec", EVIL, EVIL, "event.json"),
    "cancel": ("cancel", EVIL),
    "no such verb": (EVIL,),
    "no such option": ("runs", f"--{EVIL}"),
    "not a folder": ("status", "-w", EVIL),
}


@pytest.mark.parametrize("name", VERBS)
def test_no_control_character_reaches_a_terminal(place: Workspace, name: str) -> None:
    words = [word.replace("{run}", place.run_id) for word in VERBS[name]]  # type: ignore[attr-defined]
    said = on_terminal(*words, cwd=place.path)
    assert said.strip()
    assert "Fault in flowd" not in said
    assert harm(said) == []


def test_logs_are_raw_when_asked_and_when_nobody_looks(place: Workspace) -> None:
    run_id = place.run_id  # type: ignore[attr-defined]
    assert "x\x1b]0;owned\x07y" in on_terminal("logs", "--raw", run_id, cwd=place.path)
    words = [sys.executable, "-m", "flowd", "logs", run_id]
    done = subprocess.run(words, cwd=place.path, capture_output=True)
    assert b"x\x1b]0;owned\x07y\xc2\x9b2J\xe2\x80\xaegnp\n" in done.stdout
    assert b"e\x1b[2Jrr\n" in done.stderr


def test_what_a_running_step_says_of_its_progress_is_harmless(place: Workspace) -> None:
    said = json.dumps({"percent": 40, "message": f"[/a]{EVIL}"})
    waits = "until [ -e go ]; do sleep 0.02; done"
    place.flow("far", f"printf '%s\\n' 'FLOW_PROGRESS {said}'; {waits}; {say('completed')}")
    place.call("daemon.reload")
    seen = bytearray()
    with ThreadPoolExecutor() as threads:
        words = "dispatch", "--type", "far.go", "--id", "far", "--wait"
        waiting = threads.submit(on_terminal, *words, cwd=place.path, said=seen, COLUMNS="200")
        until(lambda: waiting.done() or b"40 % [/a]" in seen, what="the progress beside the spinner")
        (run,) = place.call("flow.listRuns", flow="far")["runs"]
        shown = [on_terminal(*verb, cwd=place.path) for verb in (("runs",), ("run", run["id"]))]
        (place.path / "flows/far/go").touch()
    assert "owned" in waiting.result()
    assert "Fault in flowd" not in waiting.result()
    assert all("owned" in text for text in shown)
    assert harm(waiting.result() + "".join(shown)) == []


@pytest.mark.parametrize("log_format", ["pretty", "json"])
def test_the_daemons_log_holds_no_control_character(tmp_path: Path, log_format: str) -> None:
    place = Workspace(tmp_path / f"w{EVIL}\nw")
    (place.path / "flows" / f"b{EVIL}\nfake line").mkdir(parents=True)
    (place.path / "flows" / f"b{EVIL}\nfake line" / "flow.toml").write_text("name = ")
    try:
        place.start(FLOWD_LOG_FORMAT=log_format)
        until(lambda: "ready" in place.log(), what="the log")
        said = place.log()
        assert harm(said) == []
        assert not any(line.startswith("fake line") for line in said.splitlines())
        place.stop()
        with pytest.raises(AssertionError, match="the daemon ended"):
            place.start(FLOWD_MAX_PARALLEL=EVIL)
        assert harm(place.log()) == []
    finally:
        place.clean_up()
