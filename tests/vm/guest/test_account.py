"""An ordinary account: a venv of its own, the service of its own manager, and the README's first steps."""

import re
from collections.abc import Callable
from pathlib import Path

from vm.rig import CHECKS, WHEELS, Service, add_user, run, show, until

Make = Callable[..., Service]
Seen = Callable[[str], None]


def quickstart() -> list[str]:
    """The README's steps, without those that start and end a daemon by hand."""
    text = (CHECKS / "README.md").read_text(encoding="utf-8")
    block = re.search(r"<!-- run: quickstart -->\n```sh\n(.*?)```", text, re.DOTALL)
    assert block is not None
    lines = [line.split("#")[0].strip() for line in block[1].splitlines()]
    return [line for line in lines if line.startswith("flowd ") and not line.startswith("flowd serve")]


def test_a_fresh_account_comes_from_nothing_to_the_readmes_first_steps(service: Make, seen: Seen) -> None:
    add_user("ada", lingers=True)
    run("python3", "-m", "venv", "/home/ada/venv", user="ada")
    run("/home/ada/venv/bin/pip", "install", "-q", *WHEELS, f"--find-links={CHECKS}/wheels/now", "codex-flowd",
        user="ada")  # fmt: skip
    place = service("/home/ada/project", user="ada", flowd="/home/ada/venv/bin/flowd")
    printed = place.install()
    assert "is ready at /home/ada/project/.codex/flowd/flowd.sock" in printed
    steps = quickstart()
    assert len(steps) >= 8
    for line in steps:
        run("sh", "-c", f"PATH=$HOME/venv/bin:$PATH; {line}", user="ada", cwd=place.path)
    twice = ["completed", "completed"]  # of two events, the second of which was sent twice
    until(lambda: [run["effectiveStatus"] for run in place.runs("hello")] == twice, what="both runs")
    assert Path(f"/proc/{place.main_pid()}").stat().st_uid != 0
    assert show(place.unit, "Type", user="ada") == "notify-reload"
    place.add("long", "setsid sleep 300 &\nsleep 300")
    (run_id,) = place.dispatch("long.go")
    until(lambda: place.run(run_id)["processStatus"] == "running", what="the step")
    place.systemctl("restart", place.unit)
    assert place.run(run_id)["processStatus"] == "running"
    place.systemctl("stop", place.unit)
    assert run("pgrep", "-u", "ada", "-x", "sleep", check=False) == ""
    place.systemctl("start", place.unit)
    assert place.run(run_id)["processStatus"] == "canceled"
    seen(f"{len(steps)} commands of the README; reload, restart under a step, and stop work for its user manager")
