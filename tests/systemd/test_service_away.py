"""Services that cannot serve just now: whoever calls is told why, and the socket stays for when they can."""

import json
import sys
from collections.abc import Callable
from typing import Any

from daemon_rig import say, until
from http_rig import free_port
from systemd_rig import OTHER_USER, USER, Box, Service

Make = Callable[..., Service]

_CALLS = """
import json, socket, sys
for number in range(int(sys.argv[2])):
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(30)
        client.connect(sys.argv[1])
        client.sendall(json.dumps({"jsonrpc": "2.0", "id": number, "method": "flow.listRuns"}).encode() + b"\\n")
        print(client.makefile().readline(), end="")
"""


def call(box: Box, place: Service, count: int = 1) -> list[dict[str, Any]]:
    """What a client gets who calls again and again."""
    done = box.run(sys.executable, "-c", _CALLS, place.socket, str(count), user=USER, bound_s=110)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_workspace_that_was_away_for_a_while_is_served_again(box: Box, service: Make) -> None:
    place = service()
    place.flow("quick", say("changed"))
    place.systemctl("start")
    place.systemctl("stop")
    box.run("mv", place.path, f"{place.path}.away")
    told = call(box, place, 3)
    box.run("mv", f"{place.path}.away", place.path)
    assert [answer["id"] for answer in told] == [0, 1, 2]
    assert {(answer["error"]["data"]["slug"], answer["error"]["message"]) for answer in told} == {
        ("bad_state", f"The workspace {place.path} is not a folder. Make it, or name another with -w.")
    }
    until(lambda: box.show(place.unit, "ActiveState") == "active", what="the service, though nobody calls")
    assert box.show(place.socket_unit, "SubState") == "running"
    until(lambda: any("result" in answer for answer in call(box, place)), what="an answer of the daemon")
    assert place.flowd("dispatch", "--type", "quick.go", "--wait", "--json")["runs"][0]["effectiveStatus"] == "changed"


def test_what_is_queued_starts_by_itself_when_the_workspace_is_back(box: Box, service: Make) -> None:
    place = service()
    tries = "/var/tmp/tries-of-a-queued-run"
    retry = "[steps.retry]\nmax_attempts = 2\ndelay_ms = 5000"
    place.flow("again", f"echo x >>{tries}; exit 1", step=f"timeout_ms = 5000\n{retry}")
    place.systemctl("start")
    place.dispatch("again.go")
    until(lambda: "until" in place.runs()[0].get("waitingFor", {}), what="the wait for the retry")
    place.systemctl("stop")
    box.run("mv", place.path, f"{place.path}.away")
    box.systemctl("start", "--no-block", place.unit)
    until(lambda: "cannot serve: " in box.show(place.unit, "StatusText"), what="word of what is away")
    (told,) = call(box, place)
    assert "is not a folder" in told["error"]["message"]
    assert box.show(place.unit, "ActiveState") == "activating"
    box.run("mv", f"{place.path}.away", place.path)
    until(lambda: box.read(tries) == "x\nx\n", what="the second attempt, though nobody calls")
    box.run("rm", tries)


def test_settings_that_cannot_be_used_are_told_to_every_caller_and_cost_no_socket(box: Box, service: Make) -> None:
    place = service()
    settings = f"{place.path}/.codex/flowd.toml"
    box.write(settings, "max_parallel = 0\n", owner=USER)
    place.systemctl("start", place.socket_unit)
    told = call(box, place, 3)
    assert len(told) == 3
    assert all("max_parallel must be" in answer["error"]["message"] for answer in told)
    # However often: systemd had taken the socket after the fifteenth start, and after twenty quick ones.
    limits = (box.show(place.unit, "StartLimitIntervalUSec"), box.show(place.socket_unit, "TriggerLimitBurst"))
    assert limits == ("0", "200")
    assert "cannot serve: " in box.show(place.unit, "StatusText")
    box.write(settings, "max_parallel = 1\n", owner=USER)
    until(lambda: any("result" in answer for answer in call(box, place)), what="an answer of the daemon")


def test_who_waits_at_the_http_socket_is_told_too(box: Box, service: Make) -> None:
    port = free_port()
    place = service()
    box.write(f"{place.path}/.codex/flowd.toml", "max_parallel = 0\n", owner=USER)
    http = f"flowd-http@{place.instance}.socket"
    box.write(f"/etc/systemd/system/{http}.d/port.conf", f"[Socket]\nListenStream=\nListenStream=127.0.0.1:{port}\n")
    box.systemctl("daemon-reload")
    box.systemctl("start", http)
    for method in ("GET", "POST"):
        done = box.run(
            "curl", "-s", "-w", " %{http_code}", "-X", method, f"http://127.0.0.1:{port}/events", check=False
        )
        answer, _, status = done.stdout.rpartition(" ")
        assert (status, json.loads(answer)["slug"]) == ("503", "bad_state")
    assert box.show(http, "ActiveState") == "active"
    box.run("rm", "-r", f"/etc/systemd/system/{http}.d")


def test_an_interpreter_that_is_missing_for_a_while_is_found_again(box: Box, service: Make) -> None:
    place = service(ExecStart="\nExecStart=:/usr/local/lib/flowd-for-a-while serve --workspace %f")
    place.systemctl("start", place.socket_unit)
    box.systemctl("start", "--no-block", place.unit)
    until(lambda: int(box.show(place.unit, "NRestarts")) >= 2, what="two more tries")
    assert box.show(place.unit, "StartLimitIntervalUSec") == "0"
    box.run("ln", "-s", str(sys.executable).replace("python", "flowd"), "/usr/local/lib/flowd-for-a-while")
    try:
        until(lambda: box.show(place.unit, "ActiveState") == "active", what="the service")
    finally:
        box.run("rm", "/usr/local/lib/flowd-for-a-while")


def test_a_users_service_answers_at_its_http_socket_while_the_workspace_is_away(box: Box, lingering: str) -> None:
    port = free_port()
    box.run("install", "-d", "-o", OTHER_USER, f"{lingering}/.codex")
    box.write(f"{lingering}/.codex/flowd.toml", f'[http]\nlisten = "127.0.0.1:{port}"\n', owner=OTHER_USER)
    box.flowd(lingering, "service", "install", user=OTHER_USER)
    unit = box.flowd(lingering, "status", "--json", user=OTHER_USER)["manager"]["unit"]
    http = unit.replace("flowd@", "flowd-http@").replace(".service", ".socket")
    ask = ("curl", "-s", "-w", " %{http_code}", f"http://127.0.0.1:{port}/runs")
    box.systemctl("stop", unit, user=OTHER_USER)
    box.run("mv", lingering, f"{lingering}.away")
    answers = [box.run(*ask, check=False).stdout for _ in range(2)]
    box.run("mv", f"{lingering}.away", lingering)
    assert ["is not a folder" in answer and answer.endswith(" 503") for answer in answers] == [True, True]
    assert box.show(http, "ActiveState", user=OTHER_USER) == "active"
    until(lambda: box.run(*ask, check=False).stdout.endswith(" 401"), what="an answer of the daemon")
    box.run("rm", "-r", f"{lingering}/.codex/flowd.toml")
