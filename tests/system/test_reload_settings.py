"""A reload takes over the settings that can change while the daemon runs, and says which wait for a restart."""

import signal
import subprocess
import sys

import pytest
from daemon_rig import Workspace, flowd_says, until
from http_rig import HttpPlace

HOOK = '[hooks.new]\nkind = "token"\nheader = "x-token"\nsecret_file = "hook.secret"\nid = "{/id}"\ntype = "hooked"\n'


@pytest.fixture
def http(place: Workspace) -> HttpPlace:
    (place.path / "secret").write_text("first-secret\n")
    (place.path / "hook.secret").write_text("hook-secret\n")
    it = HttpPlace(place)
    it.configure('[http.tokens.ci]\nfile = "secret"\nscopes = ["read", "dispatch", "control"]\n')
    return it.start(FLOWD_HTTP_OPEN="")


def status_for(http: HttpPlace, token: str) -> int:
    event = {"id": token, "type": "t", "payload": {}}
    return http.send("POST", "/events", event, {"authorization": f"Bearer {token}"}).status


def reload(place: Workspace, *, code: int = 0) -> str:
    words = [sys.executable, "-m", "flowd", "reload", "-w", str(place.path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout


@pytest.mark.parametrize("by", ["call", "signal"])
def test_secrets_and_hooks_change_and_the_rest_waits(http: HttpPlace, place: Workspace, by: str) -> None:
    assert status_for(http, "first-secret") == 202
    assert reload(place) == "nothing changed\n"
    (place.path / "secret").write_text("second-secret\n")
    text = (place.path / ".codex/flowd.toml").read_text()
    http.configure(f'max_parallel = 3\nlog_level = "debug"\n{text}{HOOK}')
    if by == "call":
        answer = place.call("daemon.reload")["settings"]
        assert answer == {"changed": ["http.access", "hooks", "log_level"], "waiting": ["max_parallel"]}
    else:
        assert place.process is not None
        place.process.send_signal(signal.SIGHUP)
        until(lambda: "settings reloaded" in place.log(), what="the reload")
        assert '"wait_for_a_restart": "max_parallel"' in place.log()
    assert status_for(http, "first-secret") == 401
    assert status_for(http, "second-secret") == 202
    sent = http.send("POST", "/hooks/new", {"id": "h"}, {"x-token": "hook-secret"})
    assert sent.status == 202, sent.body
    assert "setting max_parallel waits for a restart" in reload(place)


def test_what_waits_for_a_restart_is_named_by_the_answer_the_log_and_the_command(
    http: HttpPlace, place: Workspace
) -> None:
    text = (place.path / ".codex/flowd.toml").read_text()
    environment = '[environment]\ninherit = ["PATH"]\nwithhold = ["SECRET_*"]\nredact = ["TOKEN"]\n'
    http.configure(f"max_parallel = 3\n{environment}{text}")
    waiting = {"max_parallel", "inherit", "redact", "withhold"}
    for _ in range(2):  # it goes on waiting
        assert set(place.call("daemon.reload")["settings"]["waiting"]) == waiting
    assert place.process is not None
    place.process.send_signal(signal.SIGHUP)
    until(lambda: "wait_for_a_restart" in place.log(), what="the reload")
    (line,) = [line for line in place.log().splitlines() if "wait_for_a_restart" in line][:1]
    said = reload(place)
    for name in waiting:
        assert name in line
        assert f"setting {name} waits for a restart" in said


def test_settings_that_cannot_be_read_leave_those_of_before_in_force(http: HttpPlace, place: Workspace) -> None:
    http.configure("max_parallel = nonsense\n")
    said = reload(place, code=5)
    assert "settings not read" in said
    assert "flowd.toml:1" in said
    told = flowd_says(place, "status", "--config")
    assert "flowd.toml:1:16: not valid TOML" in told
    assert "The daemon keeps the settings of before" in told
    assert status_for(http, "first-secret") == 202
