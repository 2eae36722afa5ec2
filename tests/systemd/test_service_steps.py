"""What a system service's own circumstances must not do to its steps, and what is told of their ends."""

from collections.abc import Callable

from daemon_rig import say
from http_rig import free_port
from systemd_rig import OTHER_USER, Box, Service, findings, install

Make = Callable[..., Service]


def test_steps_have_a_usual_umask_and_no_folders_of_the_daemons_unit(box: Box, service: Make) -> None:
    place = service()
    place.flow("shown", f"umask; env | grep -E '^(XDG_RUNTIME_DIR|(RUNTIME|STATE)_DIRECTORY)='\n{say('changed')}")
    place.systemctl("start")
    run = place.flowd("dispatch", "--type", "shown.go", "--wait", "--json")["runs"][0]
    assert place.flowd("logs", run["id"]).split("FLOW_RESULT")[0].split() == ["0022"]
    assert box.run("stat", "-c", "%a", f"/var/lib/flowd{place.path}.state").stdout == "700\n"


def test_the_end_of_a_failed_run_is_a_warning(box: Box, service: Make) -> None:
    place = service()
    place.flow("good", say("changed"))
    place.flow("bad", "exit 3")
    place.systemctl("start")
    ended = "MESSAGE_ID=3fcb9d04ab6c4d1e8c4f9b1f6f0f1a13"
    for name, priority in (("good", "6"), ("bad", "4")):
        run = place.flowd("dispatch", "--type", f"{name}.go", "--wait", "--json", check=False)["runs"][0]["id"]
        assert [entry["PRIORITY"] for entry in box.journal(ended, f"FLOWD_RUN_ID={run}")] == [priority]


def test_a_port_that_two_workspaces_want_is_told_with_the_other_ones_unit_and_leaves_no_failed_unit(box: Box) -> None:
    port = free_port()
    places = ["/var/tmp/port-a", "/var/tmp/port-b"]
    first, second = (f"flowd-http@var-tmp-port\\x2d{name}.socket" for name in "ab")
    for path in places:
        box.run("install", "-d", "-o", OTHER_USER, path, f"{path}/.codex")

    def want(path: str, text: str) -> None:
        box.write(f"{path}/.codex/flowd.toml", text, owner=OTHER_USER)

    want(places[0], f'[http]\nlisten = "127.0.0.1:{port}"\n')
    assert install(box, places[0]).returncode == 0
    want(places[1], f'[http]\nlisten = "127.0.0.1:{port}"\n')
    refused = install(box, places[1])
    assert refused.returncode == 5
    assert f"{second} cannot listen: {first} has 127.0.0.1:{port}, too" in refused.stderr
    assert "port" not in box.systemctl("list-units", "--failed", "--all", "--no-legend")

    want(places[1], "")
    assert install(box, places[1]).returncode == 0
    want(places[1], f'[http]\nlisten = "127.0.0.1:{port}"\n')
    assert install(box, places[1]).returncode == 5
    found = findings(box, places[1])
    assert f"does not hold {second}: {first} has 127.0.0.1:{port}, too" in found["service.system.http"]["found"]
    assert "Address already in use" in found["daemon.http"]["found"]
    for path in places:
        box.flowd(path, "service", "uninstall", "--system", user=None)
        box.run("rm", "-r", path)
    assert "port" not in box.systemctl("list-units", "--failed", "--all", "--no-legend")
