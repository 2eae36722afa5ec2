"""HTTP of an installed service: on a port that systemd holds, at the address that the settings name."""

import json
from typing import Any

from daemon_rig import until
from http_rig import free_port
from systemd_rig import OTHER_USER, Box

# Asks as often as it can until told to stop and some times at least, and prints how often it was answered and how often
# not.
_ASKER = """
import pathlib, sys, time, urllib.request
answered = refused = 0
while answered < 4 or not pathlib.Path("/var/tmp/asked-enough").exists():
    try:
        urllib.request.urlopen(sys.argv[1], timeout=30).read()
        answered += 1
        pathlib.Path("/var/tmp/asking").write_text("yes")
    except OSError:
        refused += 1
print(answered, refused)
"""


def settle(box: Box, workspace: str, text: str) -> None:
    """Write the workspace's settings."""
    box.run("install", "-d", "-o", OTHER_USER, f"{workspace}/.codex")
    box.write(f"{workspace}/.codex/flowd.toml", text, owner=OTHER_USER)


def test_systemd_holds_the_port_of_the_settings_over_stops_and_restarts(box: Box, lingering: str) -> None:
    url = f"http://127.0.0.1:{(port := free_port())}"
    settle(box, lingering, f'[http]\nopen = true\nlisten = "127.0.0.1:{port}"\n')

    def flowd(*argv: str) -> Any:
        return box.flowd(lingering, *argv, user=OTHER_USER)

    def get() -> tuple[int, str]:
        done = box.run(
            "python3", "-c", f"import urllib.request as r; print(r.urlopen('{url}/runs').read())", check=False
        )
        return done.returncode, done.stdout + done.stderr

    installed = flowd("service", "install")
    about = flowd("status", "--json")
    service = about["manager"]["unit"]
    http = service.replace("flowd@", "flowd-http@").replace(".service", ".socket")
    assert f"systemd/user/{http}" in installed
    assert about["http"] == url
    assert box.run("grep", "-qaz", "^LISTEN_FDS=2", f"/proc/{about['pid']}/environ", check=False).returncode == 0
    assert get()[0] == 0

    box.systemctl("stop", service, user=OTHER_USER)
    assert get()[0] == 0, "a request starts it"

    box.run(
        "sh",
        "-c",
        f"rm -f /var/tmp/asked-enough /var/tmp/asking; python3 -c '{_ASKER}' {url}/runs > /var/tmp/asked 2>&1 &",
    )
    until(lambda: box.read("/var/tmp/asking"), what="the first answer")
    for _ in range(3):
        box.systemctl("restart", service, user=OTHER_USER)
    box.run("touch", "/var/tmp/asked-enough")
    until_said = "while ! test -s /var/tmp/asked; do sleep 0.05; done; cat /var/tmp/asked"
    answered, refused = map(int, box.run("sh", "-c", until_said).stdout.split())
    assert (answered > 3, refused) == (True, 0)

    settle(box, lingering, "")
    flowd("service", "install")
    assert "http" not in flowd("status", "--json")
    assert "refused" in get()[1]
    assert box.systemctl("list-unit-files", "--no-legend", http, user=OTHER_USER, check=False) == ""


def test_a_port_that_moves_or_goes_is_told_by_the_doctor_and_mended_by_an_install(box: Box, lingering: str) -> None:
    old, new = free_port(), free_port()
    settle(box, lingering, f'[http]\nlisten = "localhost:{old}"\n')
    box.flowd(lingering, "service", "install", user=OTHER_USER)
    settle(box, lingering, f'[http]\nlisten = "localhost:{new}"\n')

    def finding() -> dict[str, Any]:
        done = box.flowd(lingering, "doctor", "--json", user=OTHER_USER, check=False)
        (found,) = [entry for entry in done["findings"] if entry["check"] == "service.user.http"]
        return dict(found)

    assert finding()["level"] == "warn", json.dumps(finding())
    assert f"127.0.0.1:{old}" in finding()["found"]
    box.flowd(lingering, "service", "install", user=OTHER_USER)
    assert box.flowd(lingering, "status", "--json", user=OTHER_USER)["http"] == f"http://127.0.0.1:{new}"
    assert finding()["level"] == "ok"
