"""An upgrade by pip of a service with running steps."""

from collections.abc import Callable
from pathlib import Path

from vm.rig import CHECKS, QUICK, WHEELS, Service, run, until

Make = Callable[..., Service]
Seen = Callable[[str], None]


def test_steps_go_on_over_an_upgrade_by_pip(service: Make, seen: Seen) -> None:
    run("python3", "-m", "venv", "/opt/upgraded")
    pip = ("/opt/upgraded/bin/pip", "install", "-q", *WHEELS)
    run(*pip, f"--find-links={CHECKS}/wheels/now", "codex-flowd")
    place = service("/srv/upgraded", flowd="/opt/upgraded/bin/flowd")
    place.install()
    go = Path("/var/tmp/upgraded-go")
    place.add("long", f"echo before\nwhile ! test -e {go}; do sleep 0.3; done\necho after\n{QUICK}")
    ids = place.dispatch("long.go", count=10)
    until(lambda: [run["processStatus"] for run in place.runs("long")].count("running") >= 4, what="running steps")
    old = place.flowd("status", "--json")["version"]

    run(*pip, f"--find-links={CHECKS}/wheels/next", "--upgrade", "--force-reinstall", "codex-flowd")
    assert place.flowd("status", "--json")["version"] == old  # it is still the daemon that was started before
    place.systemctl("restart", place.unit)

    new = place.flowd("status", "--json")["version"]
    assert old != new == "99.0"
    (later,) = place.dispatch("long.go")
    go.touch()
    for run_id in (*ids, later):
        ended = place.ended(run_id)
        assert (ended["effectiveStatus"], ended["attemptCount"]) == ("changed", 1)
        assert "before\nafter\n" in "".join(entry["text"] for entry in ended["output"])
    assert place.show("NRestarts") == "0"
    seen(f"{old} -> {new}: 10 runs of before and one of after completed, 1 attempt each, with all of their output")
