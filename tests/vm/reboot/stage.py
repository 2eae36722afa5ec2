"""What is going on when the machine goes down, and what must be there when it is up again."""

import json
import os
from pathlib import Path

from vm.rig import QUICK, Service, add_user, until

RUNNING, QUEUED = 2, 2
_NOTES = Path("/var/lib/flowd-checks")


def place(kind: str) -> Service:
    """The workspace of the machine's service, or of a lingering user's."""
    if kind == "user":
        add_user("rex", lingers=True)
    return Service("/srv/re-boot") if kind == "system" else Service("/home/rex/work", user="rex")


def boot_id() -> str:
    """This boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def prepare(kind: str, service: Service) -> None:
    """Have runs that are completed, running and queued, and all of that on the disk."""
    Path(service.path, "go").unlink(missing_ok=True)
    starts = Path(service.path, "starts")
    starts.touch()
    starts.chmod(0o666)
    note = f"echo $FLOWD_RUN_ID >> {starts}"
    service.flow("quick", f"{note}\n{QUICK}")
    service.add("long", f"{note}\nsync\nwhile ! test -e {service.path}/go; do sleep 0.3; done\n{QUICK}")
    completed = service.dispatch("quick.go", count=3)
    for run_id in completed:
        service.ended(run_id)
    running = service.dispatch("long.go", count=RUNNING)
    until(lambda: set(running) <= set(starts.read_text().split()), what="the start of long steps")
    queued = service.dispatch("long.go", count=QUEUED)
    assert {service.run(run_id)["processStatus"] for run_id in queued} == {"queued"}
    _NOTES.mkdir(exist_ok=True)
    facts = {"boot": boot_id(), "completed": completed, "running": running, "queued": queued}
    (_NOTES / kind).write_text(json.dumps(facts))
    os.sync()  # flowd has done so for what it promised


def check(kind: str, service: Service) -> dict[str, dict[str, str]]:
    """See that all is there once, and nothing twice; what became of the runs that were running."""
    before = json.loads((_NOTES / kind).read_text())
    assert before["boot"] != boot_id()
    until(lambda: service.show("ActiveState") == "active", what="the service, which nobody started")
    Path(service.path, "go").touch()
    for run_id in before["completed"]:
        run = service.run(run_id)
        assert (run["effectiveStatus"], run["attemptCount"]) == ("changed", 1)
    for run_id in before["queued"]:  # these were promised, and are kept now
        run = service.ended(run_id)
        assert (run["effectiveStatus"], run["attemptCount"]) == ("changed", 1)
    starts = Path(service.path, "starts").read_text().split()
    wanted = [*before["completed"], *before["running"], *before["queued"]]
    assert [starts.count(run_id) for run_id in wanted] == [1] * len(wanted)
    return {run_id: service.run(run_id) for run_id in before["running"]}
